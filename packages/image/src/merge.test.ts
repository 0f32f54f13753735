import { createReadStream, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { gunzipSync, gzipSync } from 'node:zlib';
import { type TarItem, tarBytes } from '@stackwright/buildcache';
import { digestOf, mediaTypes } from '@stackwright/oci';
import fc from 'fast-check';
import { extract } from 'tar-stream';
import { afterAll, describe, expect, it } from 'vitest';
import type { LayerFile } from './layer.js';
import { groupSmallest, mergeLayers } from './merge.js';
import { Staging } from './staging.js';

describe('groupSmallest', () => {
  it('takes the first of several pairs that hold the same', () =>
    expect(groupSmallest([1, 1, 1, 1], 3)).toEqual([2, 1, 1]));
  it('counts both layers of a pair', () => expect(groupSmallest([1, 100, 2, 3], 3)).toEqual([1, 1, 2]));
  it('counts all that was put together before', () => expect(groupSmallest([4, 4, 5, 5], 2)).toEqual([2, 2]));
  it('leaves everything alone where there is room', () =>
    expect(groupSmallest([5, 1, 9], 3)).toEqual([1, 1, 1]));
  it('puts the smallest neighbours together', () =>
    expect(groupSmallest([50, 1, 2, 90], 3)).toEqual([1, 2, 1]));
  it('puts the last two together where these are the smallest', () =>
    expect(groupSmallest([50, 90, 2, 1], 3)).toEqual([1, 1, 2]));
  it('covers every layer in order with at most that many groups', () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat(1e6), { minLength: 1, maxLength: 60 }),
        fc.integer({ min: 1, max: 20 }),
        (sizes, most) => {
          const groups = groupSmallest(sizes, most);
          expect(groups.length).toBeLessThanOrEqual(Math.max(most, 1));
          expect(groups.reduce((a, b) => a + b, 0)).toBe(sizes.length);
        },
      ),
    );
  });
});

describe('mergeLayers', () => {
  const work = mkdtempSync(join(tmpdir(), 'merge-'));
  afterAll(() => rmSync(work, { recursive: true, force: true }));

  /** A layer of folders and files (those with content). */
  async function layer(name: string, entries: Record<string, string | undefined>): Promise<LayerFile> {
    const items = Object.entries(entries).map(([path, text]): TarItem => {
      const content = text === undefined ? [] : [Buffer.from(text)];
      const type = text === undefined ? 'folder' : 'file';
      return { entry: { name: path, type, mode: 0o755, size: text?.length ?? 0 }, content };
    });
    const tar = Buffer.concat(await Readable.from(tarBytes(items)).toArray());
    const bytes = gzipSync(tar);
    const path = join(work, name);
    writeFileSync(path, bytes);
    const descriptor = { mediaType: mediaTypes.layerGzip, digest: digestOf(bytes), size: bytes.length };
    return { descriptor, diffId: digestOf(tar), path, createdBy: `stackwright: ${name}` };
  }
  const staging = () => Staging.open(mkdtempSync(join(work, 'staging-')));
  const namesOf = async ({ path }: LayerFile) => {
    const names: string[] = [];
    const reader = extract();
    Readable.from([
      gunzipSync(await Readable.from(createReadStream(path)).toArray().then(Buffer.concat)),
    ]).pipe(reader);
    for await (const entry of reader) {
      names.push(entry.header.name);
      entry.resume();
    }
    return names;
  };
  const layers = async () => [
    await layer('a', { opt: undefined, 'opt/a': undefined, 'opt/a/file': 'a' }),
    await layer('b', { opt: undefined, 'opt/b': undefined, 'opt/b/file': 'b' }),
  ];

  it('has all entries in order, and each folder once', async () => {
    const [merged] = await mergeLayers(await layers(), 1, await staging());
    expect(await namesOf(merged!)).toEqual(['opt/', 'opt/a/', 'opt/a/file', 'opt/b/', 'opt/b/file']);
    expect(merged!.createdBy).toBe('stackwright: a b');
  });

  it.each<[string, (bad: LayerFile) => LayerFile]>([
    ['a file that is not there', (bad) => ({ ...bad, path: join(work, 'nowhere') })],
    [
      'a file that is no gzip',
      (bad) => {
        writeFileSync(join(work, 'broken'), 'broken');
        return { ...bad, path: join(work, 'broken') };
      },
    ],
    [
      'a gzip that is cut off',
      (bad) => {
        writeFileSync(join(work, 'cut'), gzipSync(Buffer.alloc(100_000, 'x')).subarray(0, 60));
        return { ...bad, path: join(work, 'cut') };
      },
    ],
  ])('fails for %s, and leaves nothing half done', async (_, change) => {
    const [a, b] = (await layers()) as [LayerFile, LayerFile];
    const made = await staging();
    await expect(mergeLayers([a, change(b)], 1, made)).rejects.toThrow();
    expect(readdirSync(join(made.folder, 'blobs'))).toEqual([]);
  });

  it('stops when it is told to', async () => {
    const controller = new AbortController();
    const big = await layer('big', { 'opt/big': 'x'.repeat(20_000_000) });
    const made = await staging();
    const merging = mergeLayers([big, ...(await layers())], 1, made, controller.signal);
    setTimeout(() => controller.abort(), 5);
    await expect(merging).rejects.toMatchObject({ name: 'AbortError' });
    expect(readdirSync(join(made.folder, 'blobs'))).toEqual([]);
  });
});
