import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ImageLayout, readImage } from '@stackwright/oci';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { assembleImage, Staging, writeLayout } from '../src/index.js';
import { packages } from './quickstart.js';

const work = mkdtempSync(join(tmpdir(), 'layout-'));
afterAll(() => rmSync(work, { recursive: true, force: true }));

/** Reads all that a layout's image has. */
async function readWhole(folder: string, tag: string): Promise<number> {
  const layout = await ImageLayout.open(folder);
  const { manifest } = await readImage(layout, tag);
  for (const layer of manifest.layers) for await (const _ of await layout.blob(layer));
  return manifest.layers.length;
}

describe('a layout that several builds write at once', () => {
  let staging: Staging;
  beforeAll(async () => {
    staging = await Staging.open(join(work, 'staging'));
  });
  /** Images that share some blobs and have some of their own. */
  const build = (label: string, mostLayers: number) =>
    assembleImage({
      packages: packages(),
      staging,
      mostLayers,
      settings: { command: ['hello-static'], labels: { round: label } },
    });

  it('is whole after each of six rounds of three, and has what they wrote and no more', async () => {
    const folder = join(work, 'shared');
    const tags = ['one', 'two', 'three'];
    for (let round = 0; round < 6; round += 1) {
      const images = await Promise.all(
        tags.map((tag, index) => build(`${round} ${tag}`, 2 + ((round + index) % 5))),
      );
      await Promise.all(images.map((image, index) => writeLayout(image, folder, tags[index]!)));
      const layout = await ImageLayout.open(folder);
      expect((await layout.tags()).sort()).toEqual([...tags].sort());
      for (const [index, tag] of tags.entries()) {
        expect((await layout.manifest(tag))?.descriptor.digest).toBe(
          images[index]!.manifest.descriptor.digest,
        );
        expect(await readWhole(folder, tag)).toBe(images[index]!.layers.length);
      }
      const named = new Set(
        images.flatMap(({ manifest, config, layers }) =>
          [manifest, config, ...layers].map(({ descriptor }) => descriptor.digest.slice('sha256:'.length)),
        ),
      );
      expect(readdirSync(join(folder, 'blobs/sha256')).sort()).toEqual([...named].sort());
    }
    expect(readdirSync(folder).sort()).toEqual(['blobs', 'index.json', 'oci-layout']);
  });

  it('is named when its index is torn, and its oci-layout is made again', async () => {
    const folder = join(work, 'torn');
    const image = await build('torn', 3);
    await writeLayout(image, folder, 'latest');
    writeFileSync(join(folder, 'oci-layout'), '{"imageLay');
    await expect(ImageLayout.open(folder)).rejects.toMatchObject({
      code: 'malformed',
      message: expect.stringContaining(join(folder, 'oci-layout')),
    });
    await writeLayout(image, folder, 'latest');
    expect(await readWhole(folder, 'latest')).toBe(3);
    const index = readFileSync(join(folder, 'index.json'), 'utf8');
    for (const text of [
      '',
      index.slice(0, 40),
      '{}',
      '[]',
      index.replace(/sha256:[0-9a-f]+/, 'sha256:../../x'),
    ]) {
      writeFileSync(join(folder, 'index.json'), text);
      for (const use of [() => readWhole(folder, 'latest'), () => writeLayout(image, folder, 'latest')])
        await expect(use()).rejects.toMatchObject({
          code: 'malformed',
          message: expect.stringContaining(join(folder, 'index.json')),
        });
    }
  });
});
