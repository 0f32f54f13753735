import { existsSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openStore } from '@stackwright/storage';
import type { PrivateKey } from 'openpgp';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  copyKeys,
  createKey,
  fingerprintOf,
  KeySigner,
  migrateV2,
  openV3Mirror,
  type PackageRef,
  presentPackages,
  Trust,
  trustOf,
  V3Mirror,
  v2Packages,
  v3,
  verifyMirror,
} from '../index.js';
import {
  copyOf,
  golden,
  madeHash,
  madePackage,
  quickstartKey,
  quickstartMirror,
  removeTemporaryFolders,
  temporaryFolder,
  v2Mirror,
} from '../testing.js';

afterEach(removeTemporaryFolders);
let key: PrivateKey;
let trust: Trust;
beforeAll(async () => {
  key = await createKey({ name: 'Notary' });
  trust = await trustOf({ keys: [{ text: quickstartKey(), from: 'quickstart.pub' }] });
});
const all = async (mirror: V3Mirror): Promise<PackageRef[]> => [...(await presentPackages(mirror)).values()];
const made = (name: string): PackageRef => ({ name, version: '1.0', hash: madeHash(name) });

describe('verifying a mirror', () => {
  it('finds nothing wrong with one that Spack wrote', async () => {
    const mirror = (await openV3Mirror(quickstartMirror)).withPolicy({ kind: 'trusted', trust });
    expect(await verifyMirror(mirror)).toEqual({ packages: 9, findings: [] });
  });

  it('finds a damaged blob, a missing dependency and a stale index, all in one run', async () => {
    const folder = copyOf(quickstartMirror);
    const mirror = (await openV3Mirror(folder)).withPolicy({ kind: 'trusted', trust });
    const chorus = { name: 'chorus', version: '1.1', hash: 'mzh2ynzh3ivdka4mxqegobftgfw65dp4' };
    const libgreet = { name: 'libgreet', version: '1.2.0', hash: 'lxymk2z6d2wwfnlqcpxtqd2vynx2ohhv' };
    writeFileSync(join(folder, v3.blob((await mirror.package(chorus)).manifest.tarball.digest)), 'damaged');
    await mirror.store.delete([v3.spec(libgreet)]);
    const codes = (await verifyMirror(mirror)).findings.map((one) => one.code);
    expect(codes).toContain('length');
    expect(codes).toContain('missing-dependency');
    expect(codes).toContain('index-stale');
  });
});

describe('copying', () => {
  it('brings packages and keys over, as they are, and skips what is there', async () => {
    const from = (await openV3Mirror(quickstartMirror)).withPolicy({ kind: 'trusted', trust });
    const to = await openV3Mirror(temporaryFolder());
    const { outcomes, failed } = await to.copyFrom(from, await all(from));
    expect(failed).toEqual([]);
    expect([...outcomes.values()].every((one) => one === 'copied')).toBe(true);
    expect(await copyKeys(from, to)).toBe(1);
    await to.updateIndex();
    expect((await verifyMirror(to.withPolicy({ kind: 'trusted', trust }))).findings).toEqual([]);
    const again = await to.copyFrom(from, await all(from));
    expect([...again.outcomes.values()].every((one) => one === 'present')).toBe(true);
  });

  it('leaves out what no trusted key has signed, when told to', async () => {
    const folder = copyOf(quickstartMirror);
    const from = await openV3Mirror(folder);
    await from.push(madePackage('a'));
    const to = await openV3Mirror(temporaryFolder());
    const trusted = from.withPolicy({ kind: 'trusted', trust });
    const { outcomes, failed } = await to.copyFrom(trusted, await all(from), { onlyTrusted: true });
    expect(failed).toEqual([]);
    expect(outcomes.get(madeHash('a'))).toBe('left-out');
    expect(await to.has(made('a'))).toBe(false);
  });

  it('does not bring a damaged blob over', async () => {
    const folder = copyOf(quickstartMirror);
    const from = await openV3Mirror(folder);
    const hello = { name: 'hello', version: '2.0', hash: 'hocoygzxdt3joeunr4qllim24bqkuvhh' };
    const { tarball } = (await from.package(hello)).manifest;
    writeFileSync(join(folder, v3.blob(tarball.digest)), Buffer.alloc(tarball.size));
    const to = await openV3Mirror(temporaryFolder());
    const { failed } = await to.copyFrom(from, [hello]);
    expect(failed[0]?.error).toMatchObject({ code: 'checksum' });
    expect(await to.has(hello)).toBe(false);
    expect(await to.store.head(v3.blob(tarball.digest))).toBeUndefined();
  });
});

describe('signing anew', () => {
  it('takes what one key signed and signs it with another', async () => {
    const mirror = (await openV3Mirror(copyOf(quickstartMirror))).withPolicy({ kind: 'trusted', trust });
    const { signed, failed } = await mirror.sign(await all(mirror), new KeySigner(key));
    expect([signed.length, failed]).toEqual([9, []]);
    const own = mirror.withPolicy({ kind: 'trusted', trust: new Trust([key.toPublic()]) });
    expect((await verifyMirror(own)).findings).toEqual([]);
    expect((await own.publishedKeys()).map(fingerprintOf)).toContain(fingerprintOf(key));
  });

  it('does not sign what the first key has not signed', async () => {
    const mirror = (await openV3Mirror(copyOf(quickstartMirror))).withPolicy({ kind: 'trusted', trust });
    await mirror.push(madePackage('a'));
    const { failed } = await mirror.sign([made('a')], new KeySigner(key));
    expect(failed[0]?.error).toMatchObject({ code: 'signature-missing' });
  });
});

describe('pruning', () => {
  it('keeps what a kept package needs and deletes the rest, with its blobs', async () => {
    const folder = temporaryFolder();
    const mirror = await openV3Mirror(folder);
    for (const name of ['a', 'b', 'c']) {
      await mirror.push(madePackage(name, { needs: name === 'b' ? ['a'] : [] }));
    }
    await mirror.updateIndex();
    const plan = await mirror.planPrune({ keep: new Set([madeHash('b')]), grace: 0 });
    expect(plan.packages).toEqual([made('c')]);
    expect(await mirror.has(made('c'))).toBe(true);
    await mirror.prune(plan, { grace: 0 });
    expect((await verifyMirror(mirror)).findings).toEqual([]);
    expect([...(await mirror.index()).hashes].sort()).toEqual([madeHash('a'), madeHash('b')].sort());
    expect((await mirror.planPrune({ grace: 0 })).blobs).toEqual([]);
  });

  it('by age keeps what is young', async () => {
    const mirror = await openV3Mirror(temporaryFolder());
    await mirror.push(madePackage('a'));
    expect((await mirror.planPrune({ olderThan: 3_600_000, grace: 0 })).packages).toEqual([]);
    expect((await mirror.planPrune({ olderThan: 0, grace: 0 })).packages).toEqual([made('a')]);
  });

  it('leaves blobs alone that somebody may be about to name', async () => {
    const folder = temporaryFolder();
    const mirror = await openV3Mirror(folder);
    await mirror.store.put(v3.blob(`sha256:${'ab'.repeat(32)}`), Buffer.from('just pushed'));
    expect((await mirror.planPrune()).blobs).toEqual([]);
    expect((await mirror.planPrune({ grace: 0 })).blobs).toHaveLength(1);
  });

  it('leaves blobs alone that a push has taken up since they were found to be orphans', async () => {
    const folder = temporaryFolder();
    const mirror = await openV3Mirror(folder);
    await mirror.push(madePackage('a'));
    await mirror.store.delete([v3.spec(made('a'))]);
    const blobs = readdirSync(join(folder, 'blobs'), { recursive: true, withFileTypes: true });
    const longAgo = new Date(Date.now() - 48 * 3_600_000);
    for (const entry of blobs) {
      if (entry.isFile()) utimesSync(join(entry.parentPath, entry.name), longAgo, longAgo);
    }
    const plan = await mirror.planPrune();
    expect(plan.blobs).toHaveLength(2);
    await mirror.push(madePackage('a'));
    await mirror.prune(plan);
    expect((await verifyMirror(mirror)).findings.filter((one) => one.severity === 'error')).toEqual([]);
  });

  it('leaves the index whole that it brings back to what it was before', async () => {
    const mirror = await openV3Mirror(temporaryFolder());
    await mirror.push(madePackage('a'));
    await mirror.updateIndex();
    await mirror.push(madePackage('b'));
    // The blob of the first index stays, named by nobody.
    await mirror.updateIndex();
    const plan = await mirror.planPrune({ keep: new Set([madeHash('a')]), grace: 0 });
    await mirror.prune(plan, { grace: 0 });
    expect((await verifyMirror(mirror)).findings).toEqual([]);
    expect([...(await mirror.index()).hashes]).toEqual([madeHash('a')]);
  });

  it('leaves blobs alone that were named since they were found to be orphans', async () => {
    const folder = temporaryFolder();
    const mirror = await openV3Mirror(folder);
    await mirror.push(madePackage('a'));
    const manifest = readFileSync(join(folder, v3.spec(made('a'))));
    await mirror.store.delete([v3.spec(made('a'))]);
    const plan = await mirror.planPrune({ grace: 0 });
    expect(plan.blobs).toHaveLength(2);
    await mirror.store.put(v3.spec(made('a')), manifest);
    await mirror.prune(plan, { grace: 0 });
    expect((await verifyMirror(mirror)).findings.filter((one) => one.severity === 'error')).toEqual([]);
  });

  it('beside an index that is being written does not leave it without its blob', async () => {
    const mirror = await openV3Mirror(temporaryFolder());
    await mirror.push(madePackage('a'));
    const writer = await openV3Mirror(mirror.url);
    const put = writer.store.put.bind(writer.store);
    let pruned = 0;
    writer.store.put = async (key, ...rest) => {
      if (key === v3.index && pruned++ === 0)
        await mirror.prune(await mirror.planPrune({ grace: 0 }), { grace: 0 });
      return put(key, ...rest);
    };
    await writer.updateIndex();
    expect(pruned).toBe(2);
    expect((await verifyMirror(mirror)).findings).toEqual([]);
  });

  it('stops at a manifest that it cannot read, whose blobs would look like orphans', async () => {
    const folder = copyOf(quickstartMirror);
    writeFileSync(
      join(folder, v3.spec(made('x')).replace('/x/', '/hello/').replace('/x-', '/hello-')),
      'broken',
    );
    await expect((await openV3Mirror(folder)).planPrune({ grace: 0 })).rejects.toMatchObject({
      code: 'manifest',
    });
  });
});

describe.each([
  ['our own', v2Mirror, 3],
  ...(golden ? [['the golden one', `${golden}/mirror-v2/signed`, 7] as const] : []),
] as const)('a mirror of layout v2, %s,', (_, v2, count) => {
  const policyOf = async () => {
    const file = readdirSync(join(v2, 'build_cache/_pgp')).find((name) => name.endsWith('.pub'))!;
    const keys = [{ text: readFileSync(join(v2, 'build_cache/_pgp', file), 'utf8'), from: file }];
    return { kind: 'trusted' as const, trust: await trustOf({ keys }) };
  };

  it('is brought to v3 elsewhere, verified and signed anew', async () => {
    const from = await openStore(v2);
    expect(await v2Packages(from)).toHaveLength(count);
    const to = await openV3Mirror(temporaryFolder());
    const options = { policy: await policyOf(), signer: new KeySigner(key) };
    expect(await migrateV2(from, to, options)).toMatchObject({
      migrated: { length: count },
      failed: [],
    });
    await to.updateIndex();
    const own = to.withPolicy({ kind: 'trusted', trust: new Trust([key.toPublic()]) });
    expect((await verifyMirror(own)).findings).toEqual([]);
    expect(await migrateV2(from, to, options)).toMatchObject({ migrated: [], present: { length: count } });
  });

  it('is brought to v3 in its own place', async () => {
    const folder = copyOf(v2);
    const store = await openStore(folder);
    const to = new V3Mirror(await openStore(folder), { kind: 'unsigned' });
    const { migrated } = await migrateV2(store, to, { policy: await policyOf() });
    expect(migrated).toHaveLength(count);
    expect(existsSync(join(folder, 'build_cache/index.json'))).toBe(true);
    await to.updateIndex();
    expect((await verifyMirror(to)).findings).toEqual([]);
  });

  it('whose signatures nobody trusts stays where it is', async () => {
    const to = await openV3Mirror(temporaryFolder());
    const policy = { kind: 'trusted' as const, trust: new Trust([key.toPublic()]) };
    const { migrated, failed } = await migrateV2(await openStore(v2), to, { policy });
    expect(migrated).toEqual([]);
    expect(failed).toHaveLength(count);
    expect(failed[0]?.error).toMatchObject({ code: 'signature-untrusted' });
  });

  it('is read from a server that lists nothing, by its index', async () => {
    const store = await openStore(v2);
    const listless = Object.defineProperty(await openStore(v2), 'canList', { value: false });
    const names = (await v2Packages(listless)).map((one) => one.specKey.replace(/\.sig$/, ''));
    expect(names.sort()).toEqual(
      (await v2Packages(store)).map((one) => one.specKey.replace(/\.sig$/, '')).sort(),
    );
  });

  it.each([
    [
      'a tarball that was changed',
      'checksum',
      '.spack',
      (bytes: Buffer) => Buffer.concat([bytes, Buffer.from('x')]),
    ],
    ['a tarball that is empty', 'missing-blob', '.spack', () => Buffer.alloc(0)],
    [
      'a spec that was changed',
      'signature-wrong',
      '.sig',
      (bytes: Buffer) => swapped(bytes, '"version":"', '"version":"9'),
    ],
    [
      'a spec that is cut off',
      'signature-wrong',
      '.sig',
      (bytes: Buffer) => bytes.subarray(0, bytes.length >> 1),
    ],
    ['a spec that is not signed', 'signature-missing', '.sig', () => Buffer.from('{"spec":{"nodes":[]}}')],
  ] as const)('does not bring over %s', async (_, code, ending, change) => {
    const folder = copyOf(v2);
    const file = readdirSync(folder, { recursive: true })
      .map(String)
      .find((name) => name.endsWith(ending))!;
    writeFileSync(join(folder, file), change(readFileSync(join(folder, file))));
    const to = await openV3Mirror(temporaryFolder());
    const { migrated, failed } = await migrateV2(await openStore(folder), to, { policy: await policyOf() });
    expect(migrated).toHaveLength(count - 1);
    expect(failed).toMatchObject([{ error: { code, kind: 'input' } }]);
    await to.updateIndex();
    expect((await to.index()).hashes.size).toBe(count - 1);
  });
});

function swapped(bytes: Buffer, from: string, to: string): Buffer {
  return Buffer.from(bytes.toString('latin1').replace(from, to), 'latin1');
}
