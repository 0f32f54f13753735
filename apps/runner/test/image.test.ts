import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { has, startRegistry } from '@stackwright/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { call } from './call.js';

const quickstart = fileURLToPath(new URL('../../../stacks/quickstart', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'image-command-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const registryMissing = !has('docker-registry');
const build = (...more: string[]) =>
  call(['image', 'build', quickstart, '--work', join(folder, 'work'), ...more], {
    env: { HOME: folder },
    cwd: folder,
  });

describe('stackwright image', () => {
  it('builds several outputs of one image, with its bill of materials', async () => {
    const { code, stdout } = await build(
      '-o',
      'oci:layout:v1',
      '-o',
      'docker-archive:image.tar',
      '--sbom',
      'sbom.json',
    );
    expect(code).toBe(0);
    expect(stdout).toMatch(/^sha256:[0-9a-f]{64}\n$/);
    expect(existsSync(join(folder, 'image.tar'))).toBe(true);
    expect(JSON.parse(readFileSync(join(folder, 'sbom.json'), 'utf8')).packages).toHaveLength(8);
    const shown = await call(['image', 'inspect', 'oci:layout:v1', '--json'], { cwd: folder });
    expect(JSON.parse(shown.stdout).digest).toBe(stdout.trim());
  });

  it('takes command and labels from the command line', async () => {
    await build('-o', 'oci:named', '--command', 'hello-static you', '--label', 'a=b');
    const { config } = JSON.parse(
      (await call(['image', 'inspect', 'oci:named', '--json'], { cwd: folder })).stdout,
    );
    expect(config.config.Cmd).toEqual(['hello-static', 'you']);
    expect(config.config.Labels).toMatchObject({
      a: 'b',
      'org.opencontainers.image.title': 'Stackwright quickstart',
    });
  });

  it.each([
    ['an output that is none', ['-o', 'BAD/x'], /not an image reference/],
    ['a base that is not there', ['--base', 'oci:nowhere'], /not an OCI image layout/],
    ['a label without a value', ['--label', 'x'], /is no label/],
    ['a mirror that is empty', ['--mirror', 'empty'], /lacks 8 of the image's 8 packages/],
  ])('refuses %s and writes nothing', async (_name, args, message) => {
    const { code, stderr } = await build('-o', 'oci:refused', ...args);
    expect([2, 3]).toContain(code);
    expect(stderr).toMatch(message);
    expect(existsSync(join(folder, 'refused'))).toBe(false);
  });
});

describe('an image whose programs could not start', () => {
  const strict = join(folder, 'strict');
  beforeAll(() => {
    cpSync(quickstart, strict, { recursive: true });
    const file = join(strict, 'stackwright.yaml');
    writeFileSync(file, readFileSync(file, 'utf8').replace('check: false', 'check: true'));
  });
  const make = (...more: string[]) =>
    call(['image', 'build', strict, '--work', join(folder, 'work'), '-o', 'oci:strict-image', ...more], {
      env: { HOME: folder },
      cwd: folder,
    });

  it('is refused, and nothing is written', async () => {
    const { code, stderr } = await make();
    expect(code).toBe(2);
    expect(stderr).toMatch(
      /chorus@\S+: \S+\/bin\/chorus needs the library libc\.so\.6, which the image lacks/,
    );
    expect(stderr).toContain('--no-check');
    expect(existsSync(join(folder, 'strict-image'))).toBe(false);
  });

  it('is made with --no-check, and found by image test', async () => {
    expect((await make('--no-check')).code).toBe(0);
    const test = (...more: string[]) =>
      call(['image', 'test', 'oci:strict-image', ...more], { env: { HOME: folder }, cwd: folder });
    const { code, stderr } = await test();
    expect([code, stderr]).toEqual([2, expect.stringContaining('needs the library libc.so.6')]);
    const { missing } = JSON.parse((await test('--json')).stdout);
    const names = [...new Set<string>(missing.map(({ name }: { name: string }) => name))];
    const given = await test(...names.flatMap((name) => ['--host-provides', name]));
    expect([given.code, given.stdout]).toEqual([0, expect.stringContaining('nothing is missing')]);
  });
});

describe.skipIf(registryMissing)(
  'stackwright image push (skipped without docker-registry: apt-get install docker-registry)',
  () => {
    let registry: Awaited<ReturnType<typeof startRegistry>>;
    let host: string;
    beforeAll(async () => {
      registry = await startRegistry();
      host = registry.host;
    });
    afterAll(() => registry?.stop());

    it('sends each layer once, and an image that is there already costs nothing', async () => {
      const push = (tag: string) =>
        call(
          ['image', 'push', quickstart, `${host}/stacks/quickstart:${tag}`, '--work', join(folder, 'work')],
          { env: { HOME: folder }, cwd: folder },
        );
      const first = await push('one');
      expect(first.stderr).toContain('8 of 8 layers sent');
      expect((await push('two')).stderr).toContain('0 of 8 layers sent');
      const shown = await call(['image', 'inspect', `${host}/stacks/quickstart:two`], {
        env: { HOME: folder },
        cwd: folder,
      });
      expect(shown.stdout).toContain(first.stdout.trim());
      expect(shown.stdout).toMatch(/^command {2}hello-static$/m);
    });
  },
);
