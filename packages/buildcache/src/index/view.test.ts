import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { copyViews, openMirror, openV3Mirror, presentPackages, v3, verifyMirror } from '../index.js';
import {
  copyOf,
  madePackage,
  quickstartMirror,
  removeTemporaryFolders,
  temporaryFolder,
} from '../testing.js';

afterEach(removeTemporaryFolders);
const packages = ['one', 'two', 'three'].map((name) => madePackage(name, { specVersion: 5 }));
const [one, two, three] = packages as [(typeof packages)[0], (typeof packages)[0], (typeof packages)[0]];
const hashes = (...refs: { hash: string }[]) => new Set(refs.map(({ hash }) => hash));

async function made(folder = temporaryFolder()) {
  const mirror = await openV3Mirror(folder);
  for (const source of packages) await mirror.push(source);
  await mirror.updateIndex();
  return { folder, mirror };
}

describe('an index view', () => {
  it('holds the packages that it is given, beside the whole index', async () => {
    const { folder, mirror } = await made();
    const before = readFileSync(join(folder, v3.index), 'utf8');
    const view = { name: 'small', mode: 'create', packages: hashes(one) } as const;
    expect(await mirror.updateIndex({ view })).toMatchObject({ packages: 1, added: 1 });
    expect(existsSync(join(folder, 'v3/manifests/index/small/index.manifest.json'))).toBe(true);
    expect(readFileSync(join(folder, v3.index), 'utf8')).toBe(before);
    expect(await mirror.views()).toEqual(['small']);
    const small = await openMirror(folder, { view: 'small' });
    expect((await small.index()).hashes).toEqual(hashes(one));
    expect([...(await presentPackages(small)).keys()]).toEqual([one.hash]);
    expect((await mirror.index()).hashes).toEqual(hashes(...packages));
  });

  it('is created, added to, replaced', async () => {
    const { mirror } = await made();
    const write = (mode: 'create' | 'append' | 'replace', ...refs: { hash: string }[]) =>
      mirror.updateIndex({ view: { name: 'v', mode, packages: hashes(...refs) } });
    const now = async () => (await mirror.withView('v').index()).hashes;
    await write('append', one);
    await expect(write('create', two)).rejects.toMatchObject({
      code: 'view-exists',
      hint: expect.stringContaining('--append'),
    });
    expect(await now()).toEqual(hashes(one));
    expect(await write('append', two)).toMatchObject({ packages: 2, added: 1, kept: 1 });
    expect(await now()).toEqual(hashes(one, two));
    expect(await write('replace', three)).toMatchObject({ packages: 1, added: 1, removed: 2 });
    expect(await now()).toEqual(hashes(three));
  });

  it('is named when it is missing, or cannot have its name', async () => {
    const { mirror } = await made();
    await mirror.updateIndex({ view: { name: 'small', mode: 'create', packages: hashes(one) } });
    await expect(mirror.withView('smal').index()).rejects.toMatchObject({
      code: 'missing-view',
      kind: 'missing',
      hint: 'It has: small.',
    });
    await expect(mirror.updateIndex({ view: { name: 'smal', mode: 'refresh' } })).rejects.toMatchObject({
      code: 'missing-view',
    });
    for (const name of ['../spec', '/x', 'a//b', '.', 'index.manifest.json', 'a b', ''])
      expect(() => mirror.withView(name)).toThrow(expect.objectContaining({ code: 'view-name' }));
    expect(mirror.withView('develop/e4s').indexKey).toBe(
      'v3/manifests/index/develop/e4s/index.manifest.json',
    );
  });

  it('loses what is pruned, and its blobs are no orphans', async () => {
    const { folder, mirror } = await made();
    await mirror.updateIndex({ view: { name: 'v', mode: 'create', packages: hashes(one, two) } });
    await mirror.updateIndex({ view: { name: 'other', mode: 'create', packages: hashes(two) } });
    expect((await mirror.planPrune({ grace: 0 })).blobs).toEqual([]);
    const options = { keep: hashes(two, three), grace: 0 };
    await mirror.prune(await mirror.planPrune(options), options);
    expect(existsSync(join(folder, v3.spec(one)))).toBe(false);
    expect((await mirror.withView('v').index()).hashes).toEqual(hashes(two));
    expect((await mirror.withView('other').index()).hashes).toEqual(hashes(two));
    expect((await verifyMirror(mirror)).findings).toEqual([]);
  });

  it('that names what the mirror lacks is found by verify', async () => {
    const { mirror } = await made();
    await mirror.updateIndex({ view: { name: 'v', mode: 'create', packages: hashes(one, two) } });
    await mirror.store.delete([v3.spec(one)]);
    await mirror.updateIndex();
    const expected = [
      { code: 'index-stale', message: expect.stringContaining('index view "v" names one@1.0') },
    ];
    expect((await verifyMirror(mirror)).findings).toMatchObject(expected);
    expect(await verifyMirror(mirror.withView('v'))).toMatchObject({ packages: 1, findings: expected });
    await mirror.updateIndex({ view: { name: 'v', mode: 'refresh' } });
    expect((await verifyMirror(mirror)).findings).toEqual([]);
  });

  it('is carried to another mirror, with the packages that are there', async () => {
    const { mirror: from } = await made();
    await from.updateIndex({ view: { name: 'a', mode: 'create', packages: hashes(one, two) } });
    await from.updateIndex({ view: { name: 'b', mode: 'create', packages: hashes(three) } });
    const to = await openV3Mirror(copyOf(quickstartMirror));
    await to.copyFrom(from, [one, three]);
    await to.updateIndex();
    await to.updateIndex({ view: { name: 'old', mode: 'create', packages: (await to.index()).hashes } });
    expect(await copyViews(from.withView('b'), to)).toEqual(['b']);
    expect(await copyViews(from, to)).toEqual(['a', 'b']);
    expect(await to.views()).toEqual(['a', 'b', 'old']);
    expect((await to.withView('a').index()).hashes).toEqual(hashes(one));
    expect((await to.withView('b').index()).hashes).toEqual(hashes(three));
    await copyViews(from, to, { replace: true });
    expect(await to.views()).toEqual(['a', 'b']);
  });

  it('is written by several at once without losing a package', async () => {
    const { mirror } = await made();
    const append = (ref: { hash: string }) =>
      mirror.updateIndex({ view: { name: 'v', mode: 'append', packages: hashes(ref) } });
    await Promise.all(packages.map(append));
    expect((await mirror.withView('v').index()).hashes).toEqual(hashes(...packages));
  });

  it('is refused where a mirror cannot have one', async () => {
    await expect(openMirror('oci://localhost:5000/a/b', { view: 'v' })).rejects.toMatchObject({
      code: 'unsupported',
    });
  });
});
