import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, rmSync, statSync, unlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { PrivateKey } from 'openpgp';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createKey, formatSigningKey, KeySigner, openV3Mirror, readSecretKey, Trust, v3 } from '../index.js';
import {
  copyOf,
  madeHash,
  madePackage,
  quickstartMirror,
  removeTemporaryFolders,
  temporaryFolder,
} from '../testing.js';

afterEach(removeTemporaryFolders);
let key: PrivateKey;
beforeAll(async () => {
  key = await createKey({ name: 'Tester' });
});
const hasGpg = (() => {
  try {
    execFileSync('gpg', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
})();

describe('pushing', () => {
  it('makes a mirror that is whole and verifies', async () => {
    const folder = temporaryFolder();
    const mirror = await openV3Mirror(folder);
    const signer = new KeySigner(key);
    const { pushed, failed } = await mirror.pushAll(
      ['a', 'b', 'c'].map((name) => madePackage(name, { needs: name === 'c' ? ['a', 'x'] : [] })),
      { signer },
    );
    expect(failed).toEqual([]);
    expect(pushed.map((one) => one.outcome)).toEqual(['pushed', 'pushed', 'pushed']);
    const signed = mirror.withPolicy({ kind: 'trusted', trust: new Trust([key.toPublic()]) });
    for (const name of ['a', 'b', 'c']) {
      const { manifest } = await signed.package({ name, version: '1.0', hash: madeHash(name) });
      expect(manifest.signedBy).toBe(signer.fingerprint);
      expect(await (await signed.tarball(manifest)).toArray()).not.toEqual([]);
    }
    expect((await mirror.publishedKeys()).map((one) => one.getFingerprint())).toEqual([key.getFingerprint()]);
  });

  it('does not push again what is there', async () => {
    const mirror = await openV3Mirror(temporaryFolder());
    expect((await mirror.push(madePackage('a'))).outcome).toBe('pushed');
    expect((await mirror.push(madePackage('a'))).outcome).toBe('present');
  });

  it('pushes again what has lost a blob, or must be signed now', async () => {
    const folder = temporaryFolder();
    const mirror = await openV3Mirror(folder);
    const { tarball } = await mirror.push(madePackage('a'));
    unlinkSync(join(folder, v3.blob(tarball!.descriptor.digest)));
    expect((await mirror.push(madePackage('a'))).outcome).toBe('pushed');
    expect((await mirror.push(madePackage('a'), { signer: new KeySigner(key) })).outcome).toBe('pushed');
  });

  it('writes a blob again that has been there for long, so that no pruning takes it for an orphan', async () => {
    const folder = temporaryFolder();
    const mirror = await openV3Mirror(folder);
    const { tarball } = await mirror.push(madePackage('a'));
    const blob = join(folder, v3.blob(tarball!.descriptor.digest));
    const age = () => Date.now() - statSync(blob).mtimeMs;
    const setAge = (minutes: number) => {
      const time = new Date(Date.now() - minutes * 60_000);
      utimesSync(blob, time, time);
    };
    const pushAgain = async () => {
      await mirror.store.delete([v3.spec(madePackage('a'))]);
      await mirror.push(madePackage('a'));
    };
    setAge(31);
    await pushAgain();
    expect(age()).toBeLessThan(5 * 60_000);
    setAge(20);
    await pushAgain();
    expect(age()).toBeGreaterThan(15 * 60_000);
  });

  it('of many at once lets one write the manifest', async () => {
    const mirror = await openV3Mirror(temporaryFolder());
    const all = await Promise.all(Array.from({ length: 8 }, () => mirror.push(madePackage('a'))));
    expect(all.filter((one) => one.outcome === 'pushed')).toHaveLength(1);
  });

  it('lists a key that an earlier push wrote without coming to the index of keys', async () => {
    const folder = temporaryFolder();
    await (await openV3Mirror(folder)).push(madePackage('a'), { signer: new KeySigner(key) });
    unlinkSync(join(folder, v3.keyIndex));
    const again = await openV3Mirror(folder);
    await again.push(madePackage('b'), { signer: new KeySigner(key) });
    expect(await again.store.head(v3.keyIndex)).toBeDefined();
  });

  it.skipIf(!hasGpg)('signs so that gpg verifies (needs gpg: apt-get install gnupg)', async () => {
    const home = temporaryFolder();
    const file = join(home, 'manifest');
    const secret = await readSecretKey(formatSigningKey(key), undefined, 'SPACK_SIGNING_KEY');
    writeFileSync(file, await new KeySigner(secret).sign('{\n"version":3\n}'));
    writeFileSync(join(home, 'key'), key.toPublic().armor());
    const env = { ...process.env, GNUPGHOME: home };
    execFileSync('gpg', ['--batch', '--import', join(home, 'key')], { env, stdio: 'ignore' });
    execFileSync('gpg', ['--batch', '--verify', file], { env, stdio: 'ignore' });
    writeFileSync(file, (await new KeySigner(secret).sign('{\n"version":3\n}')).replace('3', '4'));
    expect(() => execFileSync('gpg', ['--batch', '--verify', file], { env, stdio: 'ignore' })).toThrow();
    execFileSync('gpgconf', ['--kill', 'all'], { env, stdio: 'ignore' });
  });
});

describe('a signing key', () => {
  it('with a passphrase needs the right one', async () => {
    const locked = await createKey({ name: 'Locked', passphrase: 'open sesame' });
    const text = formatSigningKey(locked);
    await expect(readSecretKey(text, undefined, 'SPACK_SIGNING_KEY')).rejects.toMatchObject({
      code: 'passphrase-missing',
      kind: 'missing',
    });
    await expect(readSecretKey(text, 'wrong', 'SPACK_SIGNING_KEY')).rejects.toMatchObject({
      code: 'passphrase',
      kind: 'input',
    });
    expect((await readSecretKey(text, 'open sesame', 'SPACK_SIGNING_KEY')).isDecrypted()).toBe(true);
  });

  it.each(['', 'bm8ga2V5', 'not base64 !'])('is not %j', async (text) => {
    await expect(readSecretKey(text, undefined, 'SPACK_SIGNING_KEY')).rejects.toMatchObject({
      code: 'key',
      kind: 'input',
    });
  });
});

describe('the index', () => {
  const counts = async (folder: string) => {
    const mirror = await openV3Mirror(folder);
    const all: Record<string, string> = {};
    for await (const { node, refCount, inBuildcache } of mirror.indexEntries()) {
      all[node.name] = `${refCount}${inBuildcache ? '+' : ''}`;
    }
    return all;
  };

  it('written anew says what that of Spack says', async () => {
    const folder = copyOf(quickstartMirror);
    const before = await counts(folder);
    const nodes = [...(await (await openV3Mirror(folder)).index()).nodes].sort();
    rmSync(join(folder, 'v3/manifests/index'), { recursive: true });
    const result = await (await openV3Mirror(folder)).updateIndex();
    expect(result).toMatchObject({ packages: 9, added: 9, kept: 0, outcome: 'written' });
    expect(await counts(folder)).toEqual(before);
    const after = [...(await (await openV3Mirror(folder)).index()).nodes].sort();
    expect(after.map(([, node]) => node.raw)).toEqual(nodes.map(([, node]) => node.raw));
  });

  it('is left alone when nothing has changed', async () => {
    const folder = copyOf(quickstartMirror);
    expect(await (await openV3Mirror(folder)).updateIndex()).toMatchObject({ kept: 9, outcome: 'unchanged' });
  });

  it('brought up to date is the same as written anew, whatever was pushed and removed in between', async () => {
    const names = ['a', 'b', 'c', 'd', 'e', 'f'];
    const needs: Record<string, string[]> = {
      a: [],
      b: ['a'],
      c: ['a', 'x'],
      d: ['y'],
      e: ['d'],
      f: ['b', 'z'],
    };
    const folder = temporaryFolder();
    const mirror = await openV3Mirror(folder);
    let seed = 7;
    const random = (below: number) => (seed = (seed * 1103515245 + 12345) % 2147483648) % below;
    for (let step = 0; step < 25; step++) {
      const name = names[random(names.length)]!;
      const ref = { name, version: '1.0', hash: madeHash(name) };
      if (await mirror.has(ref)) await mirror.store.delete([v3.spec(ref)]);
      else await mirror.push(madePackage(name, { needs: needs[name] }));
      await mirror.updateIndex();
      const incremental = await counts(folder);
      await mirror.updateIndex({ full: true });
      expect(incremental).toEqual(await counts(folder));
    }
  });

  it('counts a dependency once, however many edges lead to it', async () => {
    const folder = temporaryFolder();
    const mirror = await openV3Mirror(folder);
    await mirror.push(madePackage('a', { needs: ['x', 'x', 'y'] }));
    await mirror.updateIndex();
    expect(await counts(folder)).toEqual({ a: '0+', x: '1', y: '1' });
    // Also in an update: the edges of what is new.
    await mirror.push(madePackage('b', { needs: ['x', 'x'] }));
    await mirror.updateIndex();
    expect(await counts(folder)).toEqual({ a: '0+', b: '0+', x: '2', y: '1' });
  });

  it('is merged with that of another who was quicker', async () => {
    const folder = temporaryFolder();
    const mirror = await openV3Mirror(folder);
    await mirror.push(madePackage('a'));
    const other = await openV3Mirror(folder);
    const put = mirror.store.put.bind(mirror.store);
    let tries = 0;
    mirror.store.put = async (key, ...rest) => {
      if (key === v3.index && tries++ === 0) {
        await other.push(madePackage('b'));
        await other.updateIndex();
      }
      return put(key, ...rest);
    };
    await mirror.updateIndex();
    expect(tries).toBeGreaterThan(0);
    expect(Object.keys(await counts(folder)).sort()).toEqual(['a', 'b']);
  });

  it('collects the blob that it replaced', async () => {
    const folder = copyOf(quickstartMirror);
    const mirror = await openV3Mirror(folder);
    const { databases } = (await mirror.indexManifest())!;
    await mirror.push(madePackage('a'));
    await mirror.updateIndex({ keepReplaced: 0 });
    expect(existsSync(join(folder, v3.blob(databases.get(8)!.digest)))).toBe(false);
  });

  it('is not written over a broken package unless asked, and names it', async () => {
    const folder = copyOf(quickstartMirror);
    const mirror = await openV3Mirror(folder);
    const name = 'v3/manifests/spec/hello/hello-2.0-hocoygzxdt3joeunr4qllim24bqkuvhh.spec.manifest.json';
    writeFileSync(join(folder, name), '{"version":3,"data":[');
    await expect(mirror.updateIndex({ full: true })).rejects.toMatchObject({
      code: 'manifest',
      message: expect.stringContaining('hello@2.0/hocoygz'),
      hint: expect.stringContaining('--skip-broken'),
    });
    const result = await mirror.updateIndex({ full: true, skipBroken: true });
    expect(result).toMatchObject({ packages: 8, broken: [{ package: 'hello@2.0/hocoygz' }] });
  });

  it('holds every package when eight push and four index at once', async () => {
    const folder = temporaryFolder();
    const names = Array.from({ length: 40 }, (_, i) => `p${i}`);
    const pushers = Array.from({ length: 8 }, async (_, pusher) => {
      const mirror = await openV3Mirror(folder);
      for (const name of names.filter((_, i) => i % 8 === pusher)) {
        await mirror.push(madePackage(name));
        await mirror.updateIndex();
      }
    });
    const indexers = Array.from({ length: 4 }, async () => {
      const mirror = await openV3Mirror(folder);
      for (let i = 0; i < 5; i++) await mirror.updateIndex();
    });
    await Promise.all([...pushers, ...indexers]);
    const { hashes } = await (await openV3Mirror(folder)).index();
    expect([...hashes].sort()).toEqual(names.map(madeHash).sort());
    expect(readdirSync(join(folder, 'v3/manifests/index'))).toEqual(['index.manifest.json']);
  });
});
