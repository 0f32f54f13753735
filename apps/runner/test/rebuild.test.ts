import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createKey, formatPublicKey, formatSigningKey, openV3Mirror, trustOf } from '@stackwright/buildcache';
import { Spack } from '@stackwright/spack';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseDocument } from 'yaml';
import { call } from './call.js';

const quickstart = fileURLToPath(new URL('../../../stacks/quickstart', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'rebuild-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const spack = await Spack.find({ env: process.env }).catch(() => undefined);
const hello = 'hocoygzxdt3joeunr4qllim24bqkuvhh';
const chorus = 'mzh2ynzh3ivdka4mxqegobftgfw65dp4';
const plain = { PATH: '/usr/bin:/bin', HOME: folder };
const rebuild = (args: string[], env: NodeJS.ProcessEnv = plain) =>
  call(['rebuild', ...args, '--work', join(folder, 'work')], { env, cwd: folder });

describe('stackwright rebuild', () => {
  it('does nothing for what the mirror has, signed by a trusted key', async () => {
    const { code, stdout } = await rebuild([quickstart, '--hash', hello.slice(0, 7)]);
    expect([code, stdout]).toEqual([0, expect.stringMatching(/^hello@2\.0\/hocoygz: up to date on file:/)]);
  });

  it('takes the job from the variables that generate writes', async () => {
    const { code, stdout } = await rebuild([], {
      ...plain,
      SPACK_CONCRETE_ENV_DIR: quickstart,
      SPACK_JOB_SPEC_DAG_HASH: hello,
    });
    expect([code, stdout]).toEqual([0, expect.stringContaining('up to date')]);
  });

  it.each([
    ['no hash', [], 2, /Which package/],
    ['an unknown hash', ['--hash', 'zzzz'], 2, /no package \/zzzz/],
    ['a mirror without it and no key', ['--hash', hello, '--mirror', 'empty'], 3, /no key to sign with/],
    [
      'a mirror without it and no Spack',
      ['--hash', hello, '--mirror', 'empty', '--unsigned'],
      3,
      /Spack is needed to build hello@2\.0/,
    ],
  ])('says what is wrong with %s', async (_name, args, expected, message) => {
    const { code, stderr } = await rebuild([quickstart, ...args]);
    expect(stderr).toMatch(message);
    expect(code).toBe(expected);
  });
});

describe.skipIf(!spack)('stackwright rebuild with real Spack (skipped without spack on PATH)', () => {
  const stack = join(folder, 'stack');
  let env: NodeJS.ProcessEnv;
  beforeAll(async () => {
    cpSync(quickstart, stack, { recursive: true });
    const file = join(stack, 'spack.yaml');
    const document = parseDocument(readFileSync(file, 'utf8'));
    document.setIn(['spack', 'config', 'install_tree', 'root'], join(folder, 'opt'));
    writeFileSync(file, String(document));
    rmSync(join(stack, 'mirror/v3/manifests/spec/hello'), { recursive: true });
    const key = await createKey({ name: 'CI' });
    writeFileSync(join(stack, 'keys/ci.pub'), formatPublicKey(key));
    writeFileSync(join(stack, 'stackwright.yaml'), 'trust: [keys/quickstart.pub, keys/ci.pub]\n');
    mkdirSync(join(folder, 'logs'));
    env = {
      ...process.env,
      SPACK_SIGNING_KEY: formatSigningKey(key),
      SPACK_JOB_LOG_DIR: join(folder, 'logs'),
    };
  });

  /** The stack with an install tree of its own, so that nothing that is installed stands in for what a mirror has. */
  function stackWithTree(name: string): string {
    const copy = join(folder, name);
    cpSync(stack, copy, { recursive: true });
    const document = parseDocument(readFileSync(join(copy, 'spack.yaml'), 'utf8'));
    document.setIn(['spack', 'config', 'install_tree', 'root'], join(folder, `opt-${name}`));
    writeFileSync(join(copy, 'spack.yaml'), String(document));
    return copy;
  }

  it('builds one package on top of the mirror, signs it with the key of CI, and leaves its log', {
    timeout: 300_000,
  }, async () => {
    const { code, stderr } = await rebuild([stack, '--mirror', join(stack, 'mirror'), '--hash', hello], env);
    expect(stderr).toContain('built, signed and pushed');
    expect(code).toBe(0);
    // The job's own output is in the job's log.
    expect(stderr).toMatch(/^==> .*hello: Executing phase: 'install'$/m);
    const log = readFileSync(join(folder, 'logs/stackwright-build-out.txt'), 'utf8');
    expect(log).toMatch(/libgreet.*from binary cache/);
    // And what `report --collect` reads.
    expect(readFileSync(join(folder, `logs/logs/hello-${hello}.txt`), 'utf8')).toBe(log);
    expect(JSON.parse(readFileSync(join(folder, `logs/builds/${hello}.json`), 'utf8'))).toMatchObject({
      hash: hello,
      outcome: 'passed',
    });
    expect(log + stderr).not.toContain(env.SPACK_SIGNING_KEY);
    const keys = [{ text: readFileSync(join(stack, 'keys/ci.pub'), 'utf8'), from: 'ci.pub' }];
    const mirror = await openV3Mirror(join(stack, 'mirror'), {
      policy: { kind: 'trusted', trust: await trustOf({ keys }) },
    });
    expect((await mirror.package({ name: 'hello', version: '2.0', hash: hello })).manifest.signed).toBe(true);
    expect(
      (await rebuild([stack, '--mirror', join(stack, 'mirror'), '--hash', hello], env)).stdout,
    ).toContain('up to date');
  });

  it('takes dependencies from mirrors only: one that is missing is an error that names it', {
    timeout: 300_000,
  }, async () => {
    const empty = join(folder, 'empty-mirror');
    const args = ['--hash', hello, '--mirror', empty, '--work', join(folder, 'w-empty')];
    const alone = stackWithTree('alone');
    rmSync(join(alone, 'mirror'), { recursive: true });
    const { code, stderr } = await call(['rebuild', alone, ...args], { env, cwd: folder });
    expect([code, stderr]).toEqual([1, expect.stringMatching(/Failed to install \S+ .*No binary found/)]);
    expect(existsSync(join(empty, 'v3/manifests/spec'))).toBe(false);
  });

  it('works twice at once in one work folder, each with the keys that it trusts', {
    timeout: 300_000,
  }, async () => {
    const mirror = join(folder, 'twice');
    cpSync(join(quickstart, 'mirror'), mirror, { recursive: true });
    for (const name of ['hello', 'chorus'])
      rmSync(join(mirror, 'v3/manifests/spec', name), { recursive: true });
    const copy = stackWithTree('pair');
    const one = (hash: string) =>
      call(['rebuild', copy, '--hash', hash, '--mirror', mirror, '--work', join(folder, 'w-twice')], {
        env,
        cwd: folder,
      });
    const both = await Promise.all([one(hello), one(chorus)]);
    expect(both.map(({ code }) => code)).toEqual([0, 0]);
    // Nothing of the keyrings stays.
    expect(readdirSync(join(folder, 'w-twice/keys'))).toEqual(['signing-key.pub']);
  });
});
