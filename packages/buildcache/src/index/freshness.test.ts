import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  checkFreshness,
  createKey,
  formatManifest,
  formatPublicKey,
  type IndexMemory,
  KeySigner,
  openV3Mirror,
  parseManifest,
  pullPackage,
  readPublicKeys,
  Trust,
  type V3Mirror,
  v3,
  verifyMirror,
} from '../index.js';
import { madePackage, removeTemporaryFolders, temporaryFolder } from '../testing.js';

afterEach(removeTemporaryFolders);
const [one, two, three] = ['one', 'two', 'three'].map((name) => madePackage(name, { specVersion: 5 })) as [
  ReturnType<typeof madePackage>,
  ReturnType<typeof madePackage>,
  ReturnType<typeof madePackage>,
];
const day = (number: number) => new Date(Date.UTC(2026, 0, number));

let signer: KeySigner;
let stranger: KeySigner;
let trust: Trust;
beforeAll(async () => {
  const key = await createKey({ name: 'Index' });
  signer = new KeySigner(key);
  stranger = new KeySigner(await createKey({ name: 'Stranger' }));
  trust = new Trust(await readPublicKeys(formatPublicKey(key), 'key'));
});

/** What a user remembers, in memory. */
function memory(): IndexMemory & { readonly seen: Map<string, number> } {
  const seen = new Map<string, number>();
  return {
    seen,
    recall: async (mirror) => seen.get(mirror),
    remember: async (mirror, counter) => void seen.set(mirror, counter),
  };
}

describe('a signed index', () => {
  let folder: string;
  let mirror: V3Mirror;
  const sign = (time?: Date) => mirror.updateIndex({ signer, signNew: true, time });
  const saved = () => readFileSync(join(folder, v3.index), 'utf8');
  beforeEach(async () => {
    folder = temporaryFolder();
    mirror = (await openV3Mirror(folder)).withPolicy({ kind: 'trusted', trust });
    for (const made of [one, two]) await mirror.push(made, { signer, time: day(1) });
  });

  it('says when it was signed, its number, and how many packages it holds', async () => {
    expect(await sign(day(2))).toMatchObject({ packages: 2, signed: true, outcome: 'written' });
    const counter = day(2).getTime() / 1000;
    const first = {
      version: 1,
      time: '2026-01-02T00:00:00Z',
      counter,
      packages: 2,
      signedBy: signer.fingerprint,
    };
    expect(await mirror.signedIndex()).toEqual(first);
    // Two of one second differ all the same.
    await sign(day(2));
    expect(await mirror.signedIndex()).toEqual({ ...first, counter: counter + 1 });
    expect((await verifyMirror(mirror)).findings).toEqual([]);
  });

  it('stays signed when whoever has the key adds a package, and is told when somebody without adds one', async () => {
    await sign();
    await mirror.push(three, { signer });
    expect(await mirror.updateIndex({ signer })).toMatchObject({ added: 1, kept: 2, signed: true });
    expect(await mirror.updateIndex()).toMatchObject({ outcome: 'unchanged', signed: true });
    await mirror.push(madePackage('four', { specVersion: 5 }), { signer });
    expect(await mirror.updateIndex()).toMatchObject({
      signed: false,
      note: expect.stringMatching(/was signed and is not any more/),
    });
  });

  it('is not begun by work that only adds packages', async () => {
    expect(await mirror.updateIndex({ signer })).toMatchObject({ signed: false });
  });

  it('takes nothing over from an index that the same key has not signed', async () => {
    await mirror.updateIndex();
    const { data } = parseManifest(saved(), v3.index);
    const blob = join(folder, v3.blob(`sha256:${data[0]!.checksum}`));
    // Somebody names a package in the index as another, and gets it signed.
    const forged = Buffer.from(readFileSync(blob, 'utf8').replaceAll('"name":"two"', '"name":"Two"'));
    await mirror.store.put('blobs/forged', forged);
    const { digestOf, hexOf } = await import('@stackwright/oci');
    await mirror.store.put(v3.blob(digestOf(forged)), forged);
    const record = { ...data[0]!, checksum: hexOf(digestOf(forged)) };
    writeFileSync(join(folder, v3.index), formatManifest({ version: 3, data: [record] }));
    expect(await sign()).toMatchObject({ packages: 2 });
    expect((await verifyMirror(mirror)).findings).toEqual([]);
    writeFileSync(
      join(folder, v3.index),
      await stranger.sign(formatManifest({ version: 3, data: [record] })),
    );
    await sign();
    expect((await verifyMirror(mirror)).findings).toEqual([]);
  });

  it('that went back is refused by who saw the later one', async () => {
    const remembered = memory();
    await sign(day(2));
    const old = saved();
    await checkFreshness(mirror, { memory: remembered });
    await sign(day(3));
    await checkFreshness(mirror, { memory: remembered });
    writeFileSync(join(folder, v3.index), old);
    const refused = { code: 'index-old', kind: 'input', message: expect.stringMatching(/went back/) };
    await expect(checkFreshness(mirror, { memory: remembered })).rejects.toMatchObject(refused);
    expect((await verifyMirror(mirror, { freshness: { memory: remembered } })).findings).toContainEqual(
      expect.objectContaining({ code: 'index-old', severity: 'error' }),
    );
    // Who never saw another cannot know.
    await checkFreshness(mirror, { memory: memory() });
  });

  it.each([
    ['unsigned', (text: string) => text.slice(text.indexOf('{'), text.lastIndexOf('}') + 1)],
    [
      'signed by a stranger',
      (text: string) => stranger.sign(text.slice(text.indexOf('{'), text.lastIndexOf('}') + 1)),
    ],
  ])('that is %s now is refused by who saw it signed', async (_, change) => {
    const remembered = memory();
    await sign();
    await checkFreshness(mirror, { memory: remembered });
    writeFileSync(join(folder, v3.index), await change(saved()));
    await expect(checkFreshness(mirror, { memory: remembered })).rejects.toMatchObject({
      code: 'index-unsigned',
      kind: 'input',
    });
    await checkFreshness(mirror, { memory: memory() });
  });

  it('that was edited is refused by everybody', async () => {
    await sign();
    writeFileSync(join(folder, v3.index), saved().replace(/"counter":\d+/, '"counter":9999999999'));
    await expect(checkFreshness(mirror, {})).rejects.toMatchObject({ code: 'signature-wrong' });
  });

  it('that is older than allowed is refused, and one that does not say', async () => {
    await sign(day(2));
    const refused = { code: 'index-old', message: expect.stringMatching(/longer ago than allowed/) };
    await expect(checkFreshness(mirror, { maxAge: 60_000 })).rejects.toMatchObject(refused);
    await sign();
    await checkFreshness(mirror, { maxAge: 60_000 });
    writeFileSync(join(folder, v3.index), saved().slice(saved().indexOf('{'), saved().lastIndexOf('}') + 1));
    await expect(checkFreshness(mirror, { maxAge: 60_000 })).rejects.toMatchObject({
      code: 'index-unsigned',
    });
  });

  it('of a mirror that was made anew has a larger number', async () => {
    const remembered = memory();
    for (let times = 0; times < 3; times++) await sign(day(2));
    await checkFreshness(mirror, { memory: remembered });
    mirror.store.delete([v3.index]);
    await sign(day(3));
    await checkFreshness(mirror, { memory: remembered });
  });

  it('has signed views', async () => {
    await sign();
    const view = { name: 'some', mode: 'create', packages: new Set([one.hash]) } as const;
    expect(await mirror.updateIndex({ view, signer, signNew: true })).toMatchObject({
      signed: true,
      packages: 1,
    });
    expect(await mirror.withView('some').signedIndex()).toMatchObject({ packages: 1 });
  });
});

describe('packages that were signed before a time', () => {
  it('do not count', async () => {
    const folder = temporaryFolder();
    const mirror = await openV3Mirror(folder);
    await mirror.push(one, { signer, time: day(1) });
    await mirror.push(two, { signer, time: day(3) });
    const strict = mirror.withPolicy({ kind: 'trusted', trust, notBefore: day(2) });
    await expect(strict.package(one)).rejects.toMatchObject({
      code: 'signature-old',
      kind: 'input',
      message: expect.stringMatching(/2026-01-01T00:00:00Z, before 2026-01-02T00:00:00Z/),
    });
    expect((await strict.package(two)).manifest.signedBy).toBe(signer.fingerprint);
    const to = temporaryFolder();
    await expect(pullPackage(strict, one, { to })).rejects.toMatchObject({ code: 'signature-old' });
    expect((await verifyMirror(strict)).findings).toContainEqual(
      expect.objectContaining({ code: 'signature-old' }),
    );
    // An old state that was put back, whole.
    const back = temporaryFolder();
    const now = await openV3Mirror(back);
    await now.push(one, { signer, time: day(3) });
    await now.withPolicy(strict.policy).package(one);
    cpSync(folder, back, { recursive: true });
    await expect(now.withPolicy(strict.policy).package(one)).rejects.toMatchObject({ code: 'signature-old' });
  });

  it('do not count either when they do not say when', async () => {
    const folder = temporaryFolder();
    const mirror = await openV3Mirror(folder);
    await mirror.push(one, { signer });
    const text = readFileSync(join(folder, v3.spec(one)), 'utf8');
    const { stackwright: _, ...plain } = JSON.parse(text.slice(text.indexOf('{'), text.lastIndexOf('}') + 1));
    writeFileSync(join(folder, v3.spec(one)), await signer.sign(formatManifest(plain)));
    const strict = mirror.withPolicy({ kind: 'trusted', trust, notBefore: day(1) });
    await expect(strict.package(one)).rejects.toMatchObject({
      code: 'signature-old',
      message: expect.stringMatching(/does not say when/),
    });
  });
});
