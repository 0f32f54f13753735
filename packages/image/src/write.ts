import { createWriteStream } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type TarItem, tarBytes } from '@stackwright/buildcache';
import { type Descriptor, hexOf, ImageLayout, type RegistryRepository } from '@stackwright/oci';
import { locked } from '@stackwright/storage';
import type { AssembledImage } from './assemble.js';
import { type LayerFile, openLayer } from './layer.js';

/**
 * Writes an image into an OCI layout, links where it can, and names it last. Blobs of an earlier image of this tag
 * that nothing names any more are deleted afterwards. Any number of writers may work on one layout at once.
 */
export async function writeLayout(image: AssembledImage, folder: string, tag: string): Promise<Descriptor> {
  const layout = await ImageLayout.create(folder);
  const putBlobs = async () => {
    for (const layer of image.layers) await layout.putFile(layer.path, layer.descriptor);
    await layout.putBytes(image.config.bytes, image.config.descriptor.mediaType);
    await layout.putBytes(image.manifest.bytes, image.manifest.descriptor.mediaType);
  };
  // Most of the time goes here, where nobody waits for it.
  await putBlobs();
  await locked(join(folder, 'index.json'), undefined, async () => {
    // Another writer may have taken these blobs for left-overs before they were named.
    await putBlobs();
    await layout.tag(tag, image.manifest.descriptor);
    await layout.collectGarbage();
  });
  return image.manifest.descriptor;
}

/**
 * Writes an image as the archive that `docker load` reads (`manifest.json` beside the blobs; layers stay compressed).
 * @param reference the name that the image gets, for example `stack:latest`
 */
export async function writeDockerArchive(
  image: AssembledImage,
  file: string,
  reference: string,
  signal?: AbortSignal,
): Promise<void> {
  const distinct = new Map(image.layers.map((layer) => [layer.descriptor.digest, layer]));
  const manifest = [
    {
      Config: blobName(image.config.descriptor),
      RepoTags: [reference],
      Layers: image.layers.map((layer) => blobName(layer.descriptor)),
    },
  ];
  await mkdir(dirname(file), { recursive: true });
  const temporary = `${file}.part`;
  const items = archiveItems(image, [...distinct.values()], JSON.stringify(manifest));
  try {
    await pipeline(tarBytes(items), createWriteStream(temporary), { signal });
    await rename(temporary, file);
  } finally {
    await rm(temporary, { force: true });
  }
}

function* archiveItems(
  image: AssembledImage,
  layers: readonly LayerFile[],
  manifest: string,
): Generator<TarItem> {
  yield archiveFile(blobName(image.config.descriptor), [image.config.bytes], image.config.bytes.length);
  for (const layer of layers)
    yield archiveFile(blobName(layer.descriptor), openLayer(layer), layer.descriptor.size);
  const bytes = Buffer.from(manifest);
  yield archiveFile('manifest.json', [bytes], bytes.length);
}

function archiveFile(name: string, content: TarItem['content'], size: number): TarItem {
  return { entry: { name, type: 'file', mode: 0o644, size }, content };
}

function blobName(descriptor: Descriptor): string {
  return `blobs/sha256/${hexOf(descriptor.digest)}`;
}

export interface PushResult {
  readonly descriptor: Descriptor;
  /** Layers and bytes that had to be sent; the others were there. */
  readonly sent: { readonly layers: number; readonly bytes: number };
}

/**
 * Pushes an image to a registry: layers first, then the configuration, then the manifest under each tag. Layers that were
 * taken from another repository of the same registry, of a mirror or of the base, are mounted.
 * @param from another repository of the same registry that may hold the other layers
 */
export async function pushImage(
  image: AssembledImage,
  target: RegistryRepository,
  tags: readonly string[],
  { from, signal }: { from?: string; signal?: AbortSignal } = {},
): Promise<PushResult> {
  let layers = 0;
  let bytes = 0;
  const distinct = [...new Map(image.layers.map((layer) => [layer.descriptor.digest, layer])).values()];
  let next = 0;
  const worker = async () => {
    for (let index = next++; index < distinct.length; index = next++) {
      const layer = distinct[index] as (typeof distinct)[number];
      const known = layer.from?.registry === target.registry ? layer.from.repository : from;
      const elsewhere = known === target.repository ? undefined : known;
      if (await target.putBlob(layer.descriptor, () => openLayer(layer), { from: elsewhere, signal })) {
        layers += 1;
        bytes += layer.descriptor.size;
      }
    }
  };
  await Promise.all([worker(), worker(), worker(), worker()]);
  await target.putBlob(image.config.descriptor, () => Readable.from([image.config.bytes]), { signal });
  for (const tag of tags)
    await target.putManifest(tag, image.manifest.bytes, image.manifest.descriptor.mediaType, signal);
  return { descriptor: image.manifest.descriptor, sent: { layers, bytes } };
}
