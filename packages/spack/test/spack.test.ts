import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import {
  chooseSpack,
  cloneSpack,
  findSpackPrefix,
  type LockWriter,
  paddedRoot,
  Spack,
  SpackError,
  withoutPadding,
  writeBuildEnvironment,
} from '../src/index.js';

const folder = mkdtempSync(join(tmpdir(), 'spack-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const real = await Spack.find({ env: process.env }).catch(() => undefined);

function script(name: string, text: string): string {
  const bin = join(folder, name, 'bin');
  mkdirSync(bin, { recursive: true });
  writeFileSync(join(bin, 'spack'), `#!/bin/sh\n${text}\n`);
  chmodSync(join(bin, 'spack'), 0o755);
  return join(folder, name);
}

describe('Spack', () => {
  it('is not found where there is none, and says how to get it', async () => {
    const env = { PATH: folder };
    expect(await Spack.find({ env })).toBeUndefined();
    await expect(Spack.require('build libgreet', { env })).rejects.toMatchObject({
      code: 'no-spack',
      kind: 'missing',
      message: expect.stringContaining('build libgreet'),
      hint: expect.stringContaining('git clone'),
    });
  });

  it('in SPACK_ROOT goes before one on PATH', async () => {
    const [first, second] = [script('first', 'echo 1.9.0'), script('second', 'echo 1.8.0')];
    const env = { SPACK_ROOT: first, PATH: `${join(second, 'bin')}:/bin:/usr/bin` };
    expect((await Spack.find({ env }))?.version).toBe('1.9.0');
  });

  it('that does not run is an error with its own words', async () => {
    const env = { SPACK_ROOT: script('broken', 'echo "no python" >&2; exit 127'), PATH: '/bin:/usr/bin' };
    await expect(Spack.find({ env })).rejects.toThrow(/does not run: no python/);
  });

  it('that fails gives its error lines', async () => {
    const root = script(
      'fails',
      'case "$*" in *--version*) echo 1.1.0;; *) echo noise; echo "==> Error: no compiler"; exit 1;; esac',
    );
    const spack = await Spack.require('test', { env: { SPACK_ROOT: root, PATH: '/bin:/usr/bin' } });
    const failing = spack.run(['install', 'x']);
    await expect(failing).rejects.toMatchObject({ kind: 'failed', details: { exitCode: 1 } });
    await expect(failing).rejects.toThrow(/spack install x failed:\n==> Error: no compiler/);
  });

  it('gets the environment that it was given and no other', async () => {
    const root = script('env', 'case "$*" in *--version*) echo 1.1.0;; *) env;; esac');
    process.env.STACKWRIGHT_TEST_SECRET = 'hidden';
    const spack = await Spack.require('test', { env: { SPACK_ROOT: root, PATH: '/bin:/usr/bin' } });
    const { stdout } = await spack.run(['x'], { env: { SPACK_GNUPGHOME: '/keys' } });
    delete process.env.STACKWRIGHT_TEST_SECRET;
    expect(stdout).toContain('SPACK_GNUPGHOME=/keys');
    expect(stdout).not.toContain('hidden');
  });

  it.skipIf(!real)('that is real answers (skipped without spack on PATH)', async () => {
    expect(real?.version).toMatch(/^\d+\.\d+/);
    await expect(real!.run(['no-such-command'])).rejects.toThrow(SpackError);
  });
});

describe('the folder of Spack', () => {
  it('is found behind a link, and by asking a wrapper', async () => {
    const root = script('whole', 'echo 1.1.0');
    mkdirSync(join(root, 'lib/spack/spack'), { recursive: true });
    mkdirSync(join(folder, 'links'));
    symlinkSync(join(root, 'bin/spack'), join(folder, 'links/spack'));
    expect(await findSpackPrefix({ env: { PATH: join(folder, 'links') } })).toBe(root);
    const wrapper = script(
      'wrapper',
      `[ "$1 $2" = "location --spack-root" ] && echo /srv/spack || echo 1.1.0`,
    );
    const env = { PATH: `${join(wrapper, 'bin')}:/usr/bin:/bin` };
    expect(await findSpackPrefix({ env })).toBe('/srv/spack');
    expect(await (await Spack.require('test', { env })).prefix()).toBe('/srv/spack');
    expect(await findSpackPrefix({ env: { PATH: '/nowhere' } })).toBeUndefined();
  });
});

describe('paddedRoot', () => {
  it('is where the database is, below the padding', async () => {
    const tree = join(folder, 'tree/__spack_path_placeholder__/_');
    mkdirSync(join(tree, '.spack-db'), { recursive: true });
    expect(await paddedRoot(join(folder, 'tree'))).toBe(tree);
  });
  it('is the root itself where nothing is padded or nothing is there yet', async () => {
    expect(await paddedRoot(join(folder, 'nowhere'))).toBe(join(folder, 'nowhere'));
  });
});

describe('writeBuildEnvironment', () => {
  const quickstart = fileURLToPath(new URL('../../../stacks/quickstart', import.meta.url));
  const mirror = { name: 'run', url: 'file:///some/mirror', signed: true };
  let count = 0;
  const written = async (text: string, options: Parameters<typeof writeBuildEnvironment>[2]) => {
    const stack = join(folder, `stack-${(count += 1)}`);
    mkdirSync(stack);
    writeFileSync(join(stack, 'spack.yaml'), text);
    writeFileSync(join(stack, 'spack.lock'), '{}');
    await writeBuildEnvironment(stack, join(stack, 'environment'), options);
    return { stack, spack: parse(readFileSync(join(stack, 'environment/spack.yaml'), 'utf8')).spack };
  };

  it("gives this run's root, absolute repositories, and leaves the stack alone", async () => {
    const before = readFileSync(join(quickstart, 'spack.yaml'), 'utf8');
    const target = join(folder, 'environment');
    await writeBuildEnvironment(quickstart, target, { mirror, installRoot: '/some/root' });
    const { spack } = parse(readFileSync(join(target, 'spack.yaml'), 'utf8'));
    expect(spack.repos.quickstart).toBe(join(quickstart, 'spack_repo/quickstart'));
    expect(spack.config.install_tree.root).toBe('/some/root');
    expect(existsSync(join(target, 'spack.lock'))).toBe(true);
    expect(readFileSync(join(quickstart, 'spack.yaml'), 'utf8')).toBe(before);
  });

  it("keeps the stack's other mirrors, behind the run's own", async () => {
    const { stack, spack } = await written(
      'spack: {specs: [], mirrors: {sources: ./sources, site: {fetch: {url: binaries}, push: "s3://b/p"}}}',
      { mirror },
    );
    expect(Object.entries(spack.mirrors)).toEqual([
      ['run', { fetch: { url: mirror.url }, push: { url: mirror.url }, signed: true }],
      ['sources', join(stack, 'sources')],
      ['site', { fetch: { url: join(stack, 'binaries') }, push: 's3://b/p' }],
    ]);
  });

  it('replaces the mirror of the same name, which keeps its credentials', async () => {
    const { spack } = await written(
      'spack: {specs: [], "mirrors:": {site: other, run: {url: old, access_pair: {id: a, secret_variable: B}}}}',
      { mirror },
    );
    expect(Object.keys(spack['mirrors:'])).toEqual(['run', 'site']);
    expect(spack['mirrors:'].run).toEqual({
      access_pair: { id: 'a', secret_variable: 'B' },
      fetch: { url: mirror.url },
      push: { url: mirror.url },
      signed: true,
    });
    expect(spack).not.toHaveProperty('mirrors');
  });

  it('adds no mirror where none is given', async () => {
    const { spack } = await written('spack: {specs: [], mirrors: {site: s3://b/p}}', {});
    expect(spack.mirrors).toEqual({ site: 's3://b/p' });
  });
});

describe('cloneSpack', () => {
  const repository = join(folder, 'repository');
  const git = (...args: string[]) =>
    execFileSync('git', ['-C', repository, '-c', 'user.name=a', '-c', 'user.email=a@b.c', ...args], {
      encoding: 'utf8',
    }).trim();
  const commit = (version: string) => {
    writeFileSync(join(repository, 'bin/spack'), `#!/bin/sh\necho ${version}\n`, { mode: 0o755 });
    git('add', '.');
    git('commit', '--quiet', '-m', version);
    return git('rev-parse', 'HEAD');
  };
  beforeAll(() => {
    mkdirSync(join(repository, 'bin'), { recursive: true });
    git('init', '--quiet', '--initial-branch=develop');
    git('config', 'uploadpack.allowAnySHA1InWant', 'true');
  });

  it('gets a branch, an annotated tag or a commit, each into a folder of its commit, and once', async () => {
    const parent = join(folder, 'clones');
    const first = commit('1.1.0');
    git('tag', '-a', '-m', 'release', 'v1.1.0');
    const second = commit('1.2.0');
    expect(await cloneSpack(repository, 'v1.1.0', parent)).toBe(join(parent, first));
    const both = await Promise.all([1, 2].map(() => cloneSpack(repository, 'develop', parent)));
    expect(both).toEqual([join(parent, second), join(parent, second)]);
    writeFileSync(join(parent, first, 'kept'), '');
    expect(await cloneSpack(repository, first, parent)).toBe(join(parent, first));
    expect(existsSync(join(parent, first, 'kept'))).toBe(true);
    expect(readdirSync(parent).sort()).toEqual([first, second].sort());
  });

  it('gets a short commit, one that a branch points to and one in the history', async () => {
    const parent = join(folder, 'short');
    const [older, newer] = [commit('1.2.1'), commit('1.2.2')];
    expect(await cloneSpack(repository, newer.slice(0, 9), parent)).toBe(join(parent, newer));
    expect(await cloneSpack(repository, older.slice(0, 9), parent)).toBe(join(parent, older));
    const env = { SPACK_REPO: repository, SPACK_REF: older.slice(0, 9) };
    expect(await chooseSpack(env, undefined)).toEqual({ repo: repository, ref: older });
    await expect(cloneSpack(repository, '0123456789', parent)).rejects.toMatchObject({
      code: 'no-reference',
      message: expect.stringContaining('0123456789'),
    });
  });

  it('is what SPACK_REPO and SPACK_REF ask for, unless SPACK_ROOT says where Spack is', async () => {
    commit('1.3.0');
    const env = { PATH: process.env.PATH, XDG_CACHE_HOME: join(folder, 'cache'), SPACK_REPO: repository };
    expect((await Spack.require('test', { env: { ...env, SPACK_REF: 'develop' } })).version).toBe('1.3.0');
    expect((await Spack.require('test', { env: { ...env, SPACK_REF: 'v1.1.0' } })).version).toBe('1.1.0');
    const root = await cloneSpack(repository, 'v1.1.0', join(folder, 'clones'));
    expect((await Spack.require('test', { env: { ...env, SPACK_ROOT: root } })).version).toBe('1.1.0');
  });

  it('is the Spack that wrote the lock where SPACK_REF is not set, and never just the newest', async () => {
    const dev = commit('1.4.0.dev0');
    commit('1.5.0.dev0');
    const env = { PATH: process.env.PATH, XDG_CACHE_HOME: join(folder, 'cache'), SPACK_REPO: repository };
    const version = async (writer: LockWriter) => (await Spack.require('test', { env, writer })).version;
    expect(await version({ version: '1.1.0', commit: dev })).toBe('1.1.0');
    expect(await version({ version: '1.4.0.dev0', commit: dev })).toBe('1.4.0.dev0');
    await expect(Spack.require('test', { env })).rejects.toMatchObject({
      code: 'no-choice',
      kind: 'input',
      hint: expect.stringContaining('SPACK_REF'),
    });
  });

  it('is not needed where the Spack on PATH is the one that SPACK_REF names', async () => {
    const sha = '2e907202bcc8209a6a62243aab50c179b524cc3b';
    const bin = join(script('same', `echo "1.1.0 (${sha})"`), 'bin');
    for (const ref of ['v1.1.0', sha]) {
      const env = { PATH: `${bin}:/usr/bin:/bin`, HOME: folder, SPACK_REF: ref };
      expect((await Spack.require('test', { env })).executable).toBe(join(bin, 'spack'));
    }
  });

  it('says which reference there is not', async () => {
    const cloning = cloneSpack(repository, 'v9', join(folder, 'clones'));
    await expect(cloning).rejects.toMatchObject({ kind: 'missing', message: expect.stringContaining('v9') });
  });

  it('says which reference git could not get, without the password of the address', async () => {
    const cloning = cloneSpack(
      `file://user:secret@${folder}/no-such-repository`,
      'v9',
      join(folder, 'clone'),
    );
    await expect(cloning).rejects.toMatchObject({ kind: 'missing', message: expect.stringContaining('v9') });
    await expect(cloning).rejects.not.toThrow(/secret/);
  });
});

describe('withoutPadding', () => {
  it.each([
    [
      '/opt/__spack_path_placeholder__/__spack_path_placeholder__/__spack_path_pl/linux/a.c:1: error: no',
      '/opt/[padded]/linux/a.c:1: error: no',
    ],
    ['cc -I/w/__spack_path_placeholder__/include x', 'cc -I/w/[padded]/include x'],
    ['/w/__spack_path_placeholder___/bin', '/w/[padded]/bin'],
    ['/usr/include', '/usr/include'],
  ])('shortens %s', (text, expected) => {
    expect(withoutPadding(text)).toBe(expected);
  });
});
