import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Spack } from '@stackwright/spack';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { call } from './call.js';

const quickstart = fileURLToPath(new URL('../../../stacks/quickstart', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'why-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const spack = await Spack.find({ env: process.env }).catch(() => undefined);
const git = (...args: string[]) =>
  execFileSync('git', ['-C', join(folder, 'stack'), '-c', 'user.name=a', '-c', 'user.email=a@b.c', ...args], {
    stdio: 'ignore',
  });

describe('stackwright why', () => {
  it('says that nothing has to be built', async () => {
    const { code, stdout } = await call(['why', quickstart]);
    expect([code, stdout]).toEqual([
      0,
      expect.stringMatching(/^0 of 12 packages have to be built\. Compared with file:.*\n$/),
    ]);
    expect((await call(['why', quickstart, 'hello'])).stdout).toMatch(/^hello@2\.0\/hocoygz is not built: /);
  });

  it('says what does not count', async () => {
    const other = join(folder, 'untrusted');
    cpSync(quickstart, other, { recursive: true });
    writeFileSync(join(other, 'stackwright.yaml'), 'trust: []\n');
    const { stdout } = await call(['why', other]);
    expect(stdout).toMatch(
      /^9 of 12 packages have to be built.*\n {2}signed by no trusted key on \S+: 9 packages\n$/,
    );
  });

  it.each([
    [['nothing'], 2, /nothing: no spec of the lock matches/],
    [['--against', 'no-such-revision'], 2, /git has no .*spack\.lock at no-such-revision/],
    [['--against=--help'], 2, /git has no .*spack\.lock at --help/],
  ])('refuses %j', async (args, expected, message) => {
    const { code, stderr } = await call(['why', quickstart, ...args], { env: process.env });
    expect([code, stderr]).toEqual([expected, expect.stringMatching(message)]);
  });
});

describe.skipIf(!spack)('stackwright why after a change (skipped without spack on PATH)', () => {
  const stack = join(folder, 'stack');
  beforeAll(async () => {
    cpSync(quickstart, stack, { recursive: true });
    git('init', '-q');
    git('add', '.');
    git('commit', '-qm', 'one');
    const recipe = join(stack, 'spack_repo/quickstart/packages/libgreet/package.py');
    writeFileSync(
      recipe,
      readFileSync(recipe, 'utf8').replace('        make(', '        print("changed")\n        make('),
    );
    const done = await call(['concretize', stack, '--force'], { env: process.env, cwd: folder });
    expect([done.code, done.code === 0 ? '' : done.stderr]).toEqual([0, '']);
  }, 120_000);

  it('names the recipe that changed and how many packages follow, against the mirror and a revision', async () => {
    const line = /^ {2}libgreet changed \(recipe\): (\d) packages$/m;
    const mirror = (await call(['why', stack], { env: process.env })).stdout;
    const revision = (await call(['why', stack, '--against', 'HEAD'], { env: process.env })).stdout;
    expect(mirror).toMatch(line);
    expect(line.exec(revision)?.[1]).toBe(line.exec(mirror)?.[1]);
    const { causes, built, asked } = JSON.parse(
      (await call(['why', stack, 'hello', '--json'], { env: process.env })).stdout,
    );
    // The compilers of this machine may differ from the lock's, too.
    const cause = causes.find(({ name }: { name: string }) => name === 'libgreet');
    expect(cause).toMatchObject({ packages: built, differences: [{ kind: 'recipe' }] });
    expect(asked[0]).toMatchObject({
      name: 'hello',
      state: 'changed',
      differences: [],
      ways: expect.arrayContaining([
        [expect.objectContaining({ name: 'hello' }), expect.objectContaining({ name: 'libgreet' })],
      ]),
    });
  });

  it('says it in the output of generate', async () => {
    const { stderr } = await call(['generate', stack, '--output-file', 'p.yml', '--stale'], {
      env: process.env,
      cwd: folder,
    });
    expect(stderr).toMatch(/^libgreet changed \(recipe\): \d packages$/m);
  });
});
