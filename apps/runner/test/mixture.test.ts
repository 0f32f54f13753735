import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  createKey,
  formatManifest,
  formatPublicKey,
  formatSigningKey,
  KeySigner,
  openV3Mirror,
  parseManifest,
  presentPackages,
  v3,
} from '@stackwright/buildcache';
import { madePackage } from '@stackwright/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RealSpack, spackMissing } from '../../../packages/buildcache/test/real-spack.js';
import { call } from './call.js';

const quickstartMirror = fileURLToPath(new URL('../../../stacks/quickstart/mirror', import.meta.url));
const old = madePackage('old', { specVersion: 5 });
const fresh = madePackage('fresh', { specVersion: 6 });
const later = madePackage('later', { specVersion: 6 });
const database = (version: number) => `application/vnd.spack.db.v${version}+json`;

/**
 * One mirror of three Spacks: packages of spec file 5 (Spack 1.1), 6 (1.3) and of one that nobody knows yet; databases 8,
 * 9 and 10.
 */
describe('a mirror that several Spacks share', () => {
  const cwd = mkdtempSync(join(tmpdir(), 'mixture-'));
  const mirror = join(cwd, 'mixed');
  const trust = ['--trust', 'key.pub'];
  let key: Awaited<ReturnType<typeof createKey>>;
  const run = async (...args: string[]) => {
    const env = { SPACK_SIGNING_KEY: formatSigningKey(key) };
    const result = await call(['mirror', ...args], { cwd, env });
    process.exitCode = undefined;
    return result;
  };
  /** The names that each database of a mirror's index lists with a binary, by media type. */
  const listed = (folder: string, indexKey: string = v3.index) => {
    const text = readFileSync(join(folder, indexKey), 'utf8');
    // It is signed from the first time on that it is written with a key.
    const plain = text.slice(text.indexOf('{'), text.lastIndexOf('}') + 1);
    const { data } = parseManifest(plain, indexKey);
    return Object.fromEntries(
      data.map(({ mediaType, checksum }) => {
        const text = readFileSync(join(folder, v3.blob(`sha256:${checksum}`)), 'utf8');
        const entries = Object.values<{ spec: { name: string }; in_buildcache: boolean }>(
          JSON.parse(text).database.installs,
        );
        return [
          mediaType,
          entries
            .filter((one) => one.in_buildcache)
            .map(({ spec }) => spec.name)
            .sort(),
        ];
      }),
    );
  };
  const names = async (...args: string[]) =>
    JSON.parse((await run('list', ...args, '--json')).stdout).packages.map(
      (one: { name: string }) => one.name,
    );

  beforeAll(async () => {
    key = await createKey({ name: 'Mixed' });
    writeFileSync(join(cwd, 'key.pub'), formatPublicKey(key));
    const signer = new KeySigner(key);
    const from = await openV3Mirror(quickstartMirror);
    const to = await openV3Mirror(mirror);
    await to.copyFrom(from, [...(await presentPackages(from)).values()], { signer });
    for (const source of [old, fresh, later]) await to.push(source, { signer });
    // What a Spack of the future may write.
    const file = join(mirror, v3.spec(later));
    const text = readFileSync(file, 'utf8');
    const manifest = text.slice(text.indexOf('{'), text.lastIndexOf('}') + 1).replace('spec.v6', 'spec.v7');
    writeFileSync(file, await signer.sign(manifest));
    await to.updateIndex();
    const { data } = parseManifest(readFileSync(join(mirror, v3.index), 'utf8'), v3.index);
    writeFileSync(
      join(mirror, v3.index),
      formatManifest({ version: 3, data: [{ ...data[0]!, mediaType: database(10) }, ...data] }),
    );
  });
  afterAll(() => rmSync(cwd, { recursive: true, force: true }));

  it('has each package in the databases that its Spack reads, and keeps those of other Spacks', async () => {
    const indexed = await run('index', mirror);
    expect(indexed).toMatchObject({ code: 0, stderr: expect.stringContaining('later@1.0') });
    expect(indexed.stderr).toMatch(/left out later@1\.0.*newer Spack/);
    const { [database(8)]: eight, [database(9)]: nine, ...others } = listed(mirror);
    expect(eight).toContain('old');
    expect(eight).toContain('hello');
    expect(eight).not.toContain('fresh');
    expect(nine).toEqual([...eight!, 'fresh'].sort());
    expect(Object.keys(others)).toEqual([database(10)]);
    const full = await run('index', mirror, '--full');
    expect(full.code).toBe(0);
    expect(listed(mirror)[database(9)]).toEqual(nine);
    expect(Object.keys(listed(mirror)).sort()).toEqual([10, 8, 9].map(database).sort());
  });

  it('is listed, whole and by specs', async () => {
    expect(await names(mirror)).toEqual(expect.arrayContaining(['fresh', 'hello', 'later', 'old']));
    expect(await names(mirror, 'fresh')).toEqual(['fresh']);
    expect(await names(mirror, 'hello', 'old')).toEqual(['hello', 'old']);
    expect((await run('list', mirror, '--long')).stdout).toContain(fresh.hash);
  });

  it('is verified: what cannot be read is a warning', async () => {
    const { code, stdout } = await run('verify', mirror, ...trust, '--json');
    expect({ code, ...JSON.parse(stdout) }).toMatchObject({
      code: 0,
      packages: 12,
      findings: [
        { code: 'newer', severity: 'warning' },
        { code: 'index-incomplete', severity: 'warning' },
      ],
    });
  });

  it('is pulled from', async () => {
    expect((await run('pull', mirror, 'fresh', 'old', 'hello', ...trust, '--to', 'tree')).code).toBe(0);
    expect(readFileSync(join(cwd, 'tree', `fresh-1.0-${fresh.hash}`, 'file'), 'utf8')).toContain('fresh');
    expect(await run('pull', mirror, `/${later.hash}`, ...trust, '--to', 'tree')).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/spec\.v7[\s\S]*Update Stackwright/),
    });
  });

  it('is copied and synced, into databases of both', async () => {
    const copied = await run('copy', mirror, 'copy', 'fresh', 'old', 'hello', ...trust);
    expect(copied).toMatchObject({ code: 0, stderr: expect.stringContaining('5 packages copied') });
    expect(listed(join(cwd, 'copy'))).toMatchObject({
      [database(8)]: ['gcc-runtime', 'hello', 'libgreet', 'old'],
      [database(9)]: ['fresh', 'gcc-runtime', 'hello', 'libgreet', 'old'],
    });
    const synced = await run('sync', mirror, 'copy', 'fresh', 'old', ...trust);
    expect(synced).toMatchObject({ code: 0, stderr: expect.stringContaining('3 deleted') });
    expect(listed(join(cwd, 'copy'))).toEqual({ [database(8)]: ['old'], [database(9)]: ['fresh', 'old'] });
    // All of it: what cannot be read is named, the rest arrives.
    const all = await run('copy', mirror, 'all', ...trust);
    expect(all).toMatchObject({ code: 1, stderr: expect.stringContaining('11 packages copied') });
    expect(all.stderr).toContain('later@1.0');
  });

  it('is signed anew', async () => {
    const other = await createKey({ name: 'Notary' });
    writeFileSync(join(cwd, 'notary.secret'), other.armor());
    const signed = await run('sign', 'all', 'fresh', 'old', ...trust, '--key', 'notary.secret');
    expect(signed).toMatchObject({ code: 0, stderr: expect.stringContaining('2 packages signed') });
    writeFileSync(join(cwd, 'notary.pub'), formatPublicKey(other));
    const verified = await run('verify', 'all', 'fresh', 'old', '--trust', 'notary.pub');
    expect(verified).toMatchObject({ code: 0, stderr: expect.stringContaining('2 packages verified') });
  });

  it('is pruned, and has views', async () => {
    await run('copy', mirror, 'pruned', '--unsigned', 'fresh', 'old', 'hello');
    await run('index', 'pruned', '--view', 'v', 'fresh', 'old');
    const view = v3.view('v');
    expect(listed(join(cwd, 'pruned'), view)).toEqual({
      [database(8)]: ['old'],
      [database(9)]: ['fresh', 'old'],
    });
    writeFileSync(join(cwd, 'keep'), `${old.hash}\n`);
    expect((await run('prune', 'pruned', '--keep', 'keep', '--grace', '0s', '--delete')).code).toBe(0);
    expect(listed(join(cwd, 'pruned'))).toEqual({ [database(8)]: ['old'], [database(9)]: ['old'] });
    expect(listed(join(cwd, 'pruned'), view)).toEqual({ [database(8)]: ['old'], [database(9)]: ['old'] });
    // Orphans of the mixture itself: none, though nobody here can read two of its manifests' blobs.
    const { stdout } = await run('prune', mirror, '--grace', '0s', '--json');
    const gone = JSON.parse(stdout);
    expect(gone.packages).toEqual([]);
    for (const { key: blob } of gone.blobs) expect(existsSync(join(mirror, blob))).toBe(true);
    expect((await run('prune', mirror, '--grace', '0s', '--delete')).code).toBe(0);
    expect(listed(mirror)[database(10)]).toContain('hello');
    expect((await run('verify', mirror, ...trust)).code).toBe(0);
  });

  it.skipIf(spackMissing)(
    `Spack 1.1 installs from it (${spackMissing ?? 'the one on PATH'})`,
    { timeout: 300_000 },
    async () => {
      const real = new RealSpack(join(cwd, 'spack'));
      const env = real.environment('mixed', `file://${mirror}`);
      writeFileSync(join(cwd, 'key.secret'), key.armor());
      await real.run(env, 'gpg', 'trust', join(cwd, 'key.secret'));
      expect(await real.run(env, 'buildcache', 'list', '-aL')).toContain(old.hash);
      await real.run(env, 'install', '--cache-only');
      expect(await real.run(env, 'find')).toContain('hello');
    },
  );
});
