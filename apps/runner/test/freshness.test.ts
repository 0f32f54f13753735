import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openV3Mirror, v3 } from '@stackwright/buildcache';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { call } from './call.js';
import { MirrorFolder } from './forged-mirrors.js';

// Somebody with write access and no key puts an old state of a mirror back.

const folder = mkdtempSync(join(tmpdir(), 'freshness-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let whole: MirrorFolder;
let copies = 0;
beforeAll(async () => {
  whole = await MirrorFolder.make(join(folder, 'whole'));
});

/** A copy, with a home folder of its own. */
function fresh() {
  const copy = whole.copyTo(join(folder, String((copies += 1))));
  const env = { PATH: '/usr/bin:/bin', HOME: copy.folder };
  const run = async (...args: string[]) => {
    const result = await call([...args], { cwd: copy.folder, env });
    process.exitCode = undefined;
    return { ...result, text: result.stdout + result.stderr };
  };
  const sign = async () => {
    const mirror = await openV3Mirror(copy.mirror);
    return mirror.updateIndex({ signer: copy.signer, signNew: true });
  };
  return { copy, run, sign };
}

const trust = ['--trust', 'trusted.pub'];
const reading = {
  verify: ['mirror', 'verify', 'mirror', ...trust],
  image: ['image', 'build', 'stack', '--mirror', 'mirror', '--work', 'work', '-o', 'oci:image', ...trust],
  run: ['run', 'stack', '--mirror', 'mirror', '--work', 'work', ...trust],
} as const;

describe.each(Object.entries(reading))('%s', (_, args) => {
  it('refuses an index that went back, and remembers from run to run', async () => {
    const { copy, run, sign } = fresh();
    await sign();
    const old = copy.text(v3.index);
    await sign();
    expect(await run(...args)).toMatchObject({ code: 0 });
    copy.write(v3.index, old);
    const refused = await run(...args);
    expect([1, 2]).toContain(refused.code);
    expect(refused.text).toMatch(/went back/);
    copy.write(v3.index, copy.plain(v3.index));
    expect((await run(...args)).text).toMatch(/not signed by a trusted key, and was before/);
  });

  it('refuses an index of more than --max-age, and one that does not say', async () => {
    const { run, sign } = fresh();
    expect((await run(...args, '--max-age', '1h')).text).toMatch(/index is not signed/);
    await sign();
    expect(await run(...args, '--max-age', '1h')).toMatchObject({ code: 0 });
    await new Promise((resolve) => setTimeout(resolve, 1100));
    expect((await run(...args, '--max-age', '1s')).text).toMatch(/longer ago than allowed/);
  });

  it('refuses packages of before --not-before', async () => {
    const { run } = fresh();
    expect(await run(...args, '--not-before', '2020-01-01')).toMatchObject({ code: 0 });
    const refused = await run(...args, '--not-before', '2099-01-01T00:00:00Z');
    expect([1, 2]).toContain(refused.code);
    expect(refused.text).toMatch(/was signed 20.*before 2099-01-01T00:00:00Z/);
    expect((await run(...args, '--not-before', 'yesterday')).code).toBe(2);
  });
});

it('mirror index signs with a key, and pull refuses what is too old', async () => {
  const { run, copy } = fresh();
  const indexed = await run('mirror', 'index', 'mirror', '--key', 'notary', '--json');
  expect(JSON.parse(indexed.stdout)).toMatchObject({ packages: 3, signed: true });
  expect(copy.json(v3.index)).toMatchObject({ stackwrightIndex: { version: 1, packages: 3 } });
  const pulled = await run(
    'mirror',
    'pull',
    'mirror',
    '--to',
    'tree',
    ...trust,
    '--not-before',
    '2099-01-01',
  );
  expect(pulled).toMatchObject({ code: 1, stderr: expect.stringMatching(/3 packages failed/) });
});
