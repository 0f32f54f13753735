import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type Descriptor, hexOf, ImageLayout, type RegistryRepository } from '@stackwright/oci';
import { pack } from 'tar-stream';
import type { AssembledImage } from './assemble.js';

/**
 * Writes an image into an OCI layout, links where it can, and names it last. Blobs of an earlier image of this tag
 * that nothing names any more are deleted afterwards.
 */
export async function writeLayout(image: AssembledImage, folder: string, tag: string): Promise<Descriptor> {
  const layout = await ImageLayout.create(folder);
  for (const layer of image.layers) await layout.putFile(layer.path, layer.descriptor);
  await layout.putBytes(image.config.bytes, image.config.descriptor.mediaType);
  await layout.putBytes(image.manifest.bytes, image.manifest.descriptor.mediaType);
  await layout.tag(tag, image.manifest.descriptor);
  await layout.collectGarbage();
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
  const name = (descriptor: Descriptor) => `blobs/sha256/${hexOf(descriptor.digest)}`;
  const distinct = new Map(image.layers.map((layer) => [layer.descriptor.digest, layer]));
  const manifest = [
    {
      Config: name(image.config.descriptor),
      RepoTags: [reference],
      Layers: image.layers.map((l) => name(l.descriptor)),
    },
  ];
  await mkdir(dirname(file), { recursive: true });
  const temporary = `${file}.part`;
  const tar = pack();
  const fixed = { mtime: new Date(0), mode: 0o644 };
  const fill = async () => {
    tar.entry({ name: name(image.config.descriptor), ...fixed }, image.config.bytes);
    for (const layer of distinct.values()) {
      const entry = tar.entry({ name: name(layer.descriptor), size: layer.descriptor.size, ...fixed });
      await pipeline(createReadStream(layer.path), entry as unknown as NodeJS.WritableStream);
    }
    tar.entry({ name: 'manifest.json', ...fixed }, JSON.stringify(manifest));
    tar.finalize();
  };
  try {
    await Promise.all([
      fill(),
      pipeline(tar as unknown as Readable, createWriteStream(temporary), { signal }),
    ]);
    await rename(temporary, file);
  } finally {
    await rm(temporary, { force: true });
  }
}

export interface PushResult {
  readonly descriptor: Descriptor;
  /** Layers and bytes that had to be sent; the others were there. */
  readonly sent: { readonly layers: number; readonly bytes: number };
}

/**
 * Pushes an image to a registry: layers first, then the configuration, then the manifest under each tag.
 * @param from repositories of the same registry that may hold layers already, such as an OCI mirror: they are mounted
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
      if (await target.putBlob(layer.descriptor, () => createReadStream(layer.path), { from, signal })) {
        layers += 1;
        bytes += layer.descriptor.size;
      }
    }
  };
  await Promise.all([worker(), worker(), worker(), worker()]);
  const { Readable } = await import('node:stream');
  await target.putBlob(image.config.descriptor, () => Readable.from([image.config.bytes]), { signal });
  for (const tag of tags)
    await target.putManifest(tag, image.manifest.bytes, image.manifest.descriptor.mediaType, signal);
  return { descriptor: image.manifest.descriptor, sent: { layers, bytes } };
}
