import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import {
  formatManifest,
  openV3Mirror,
  type PackageSource,
  parseManifest,
  v3,
  verifyMirror,
} from '../index.js';
import {
  copyOf,
  madePackage,
  quickstartMirror,
  removeTemporaryFolders,
  temporaryFolder,
} from '../testing.js';

afterEach(removeTemporaryFolders);
const database = (version: number) => `application/vnd.spack.db.v${version}+json`;
const manifestAt = (folder: string, key: string) =>
  parseManifest(readFileSync(join(folder, key), 'utf8'), key);
/** What the databases of an index hold, by media type. */
function databases(folder: string): Record<string, { version: string; packages: string[] }> {
  const found = manifestAt(folder, v3.index).data.map(({ mediaType, checksum }) => {
    const { database: json } = JSON.parse(readFileSync(join(folder, v3.blob(`sha256:${checksum}`)), 'utf8'));
    const entries = Object.values<{ spec: { name: string } }>(json.installs);
    return [
      mediaType,
      { version: json.version, packages: entries.map(({ spec }) => spec.name).sort() },
    ] as const;
  });
  return Object.fromEntries(found);
}
const old = madePackage('old', { specVersion: 5 });
const fresh = madePackage('fresh', { specVersion: 6 });

describe('packages of spec file 6', () => {
  it('are pushed under their own media type, and read', async () => {
    const folder = temporaryFolder();
    const mirror = await openV3Mirror(folder);
    for (const source of [old, fresh]) await mirror.push(source);
    const typeOf = (source: PackageSource) => manifestAt(folder, v3.spec(source)).data[1]!.mediaType;
    expect([old, fresh].map(typeOf)).toEqual([
      'application/vnd.spack.spec.v5+json',
      'application/vnd.spack.spec.v6+json',
    ]);
    expect((await mirror.package(fresh)).document).toMatchObject({ version: 6, root: { name: 'fresh' } });
  });

  it('are refused when they were changed', async () => {
    const mirror = await openV3Mirror(temporaryFolder());
    const specText = fresh.specText.replace('"namespace":"made"', '"namespace":"evil"');
    await mirror.push({ ...fresh, specText });
    await expect(mirror.package(fresh)).rejects.toMatchObject({ code: 'dag-hash' });
    await expect(mirror.updateIndex()).rejects.toMatchObject({ code: 'dag-hash' });
  });

  it('of a version that nobody knows yet are refused with a reason', async () => {
    const folder = temporaryFolder();
    const mirror = await openV3Mirror(folder);
    await mirror.push(fresh);
    const file = join(folder, v3.spec(fresh));
    writeFileSync(file, readFileSync(file, 'utf8').replace('spec.v6', 'spec.v7'));
    await expect(mirror.package(fresh)).rejects.toMatchObject({
      code: 'newer',
      message: expect.stringContaining('the spec is of type application/vnd.spack.spec.v7+json'),
      hint: expect.stringContaining('Update Stackwright'),
    });
  });
});

describe('the databases of an index', () => {
  it('are one that every Spack reads, where all packages are of spec file 5', async () => {
    const folder = temporaryFolder();
    const mirror = await openV3Mirror(folder);
    await mirror.push(old);
    await mirror.updateIndex();
    expect(databases(folder)).toEqual({ [database(8)]: { version: '8', packages: ['old'] } });
  });

  it('are one for older and one for newer Spacks, where there are packages of spec file 6', async () => {
    const folder = temporaryFolder();
    const mirror = await openV3Mirror(folder);
    for (const source of [old, fresh]) await mirror.push(source);
    expect(await mirror.updateIndex()).toMatchObject({ packages: 2, added: 2, outcome: 'written' });
    const expected = {
      [database(9)]: { version: '9', packages: ['fresh', 'old'] },
      [database(8)]: { version: '8', packages: ['old'] },
    };
    expect(databases(folder)).toEqual(expected);
    expect(await mirror.updateIndex()).toMatchObject({
      packages: 2,
      added: 0,
      kept: 2,
      outcome: 'unchanged',
    });
    expect([...(await mirror.index()).hashes].sort()).toEqual([old.hash, fresh.hash].sort());
    await mirror.push(madePackage('other', { specVersion: 5 }));
    await mirror.updateIndex({ keepReplaced: 0 });
    expect(databases(folder)).toEqual({
      [database(9)]: { version: '9', packages: ['fresh', 'old', 'other'] },
      [database(8)]: { version: '8', packages: ['old', 'other'] },
    });
    expect((await verifyMirror(mirror)).findings).toEqual([]);
    expect((await mirror.planPrune({ grace: 0 })).blobs).toEqual([]);
  });

  it('that another Spack wrote stay: those known are kept up to date, the others are not touched', async () => {
    const folder = copyOf(quickstartMirror);
    const { data } = manifestAt(folder, v3.index);
    const theirs = [9, 10].map((version) => ({ ...data[0]!, mediaType: database(version) }));
    writeFileSync(join(folder, v3.index), formatManifest({ version: 3, data: [...theirs, ...data] }));
    const mirror = await openV3Mirror(folder);
    await mirror.push(old);
    expect(await mirror.updateIndex({ keepReplaced: 0 })).toMatchObject({ packages: 10, added: 1 });
    const after = databases(folder);
    expect(after[database(8)]?.packages).toContain('old');
    expect(after[database(9)]?.packages).toContain('old');
    expect(manifestAt(folder, v3.index).data).toContainEqual(theirs[1]);
    // What an unknown version names is no orphan, though it is the blob that ours had before.
    expect(after[database(10)]?.packages).not.toContain('old');
    expect((await mirror.planPrune({ grace: 0 })).blobs).toEqual([]);
  });

  it('are read by a mirror that has only newer ones as if there were none', async () => {
    const folder = copyOf(quickstartMirror);
    const { data } = manifestAt(folder, v3.index);
    const theirs = { ...data[0]!, mediaType: database(10) };
    writeFileSync(join(folder, v3.index), formatManifest({ version: 3, data: [theirs] }));
    const mirror = await openV3Mirror(folder);
    expect(await mirror.hasIndex()).toBe(false);
    await expect(mirror.index()).rejects.toMatchObject({ code: 'missing-index' });
    await mirror.updateIndex();
    expect(Object.keys(databases(folder)).sort()).toEqual([database(10), database(8)]);
  });
});
