import { join } from 'node:path';
import {
  type BaseImage,
  type Descriptor,
  digestOf,
  type ImageDocument,
  type ImageIndex,
  ImageLayout,
  mediaTypes,
  type Platform,
  RegistryRepository,
} from '@stackwright/oci';
import { locked } from '@stackwright/storage';
import { ImageError } from './error.js';

/** Images of several platforms under one name. */
export interface PlatformIndex {
  readonly images: readonly BaseImage[];
  readonly document: ImageDocument;
}

/**
 * The index (OCI image spec 1.1) of images, of which each is for another platform, in the order of the platforms.
 * @throws ImageError `platform` where two are for the same
 */
export function indexOf(images: readonly BaseImage[]): PlatformIndex {
  const byPlatform = new Map<string, { readonly one: BaseImage; readonly platform: Platform }>();
  for (const one of images) {
    const { os, architecture, variant } = one.image.config;
    const platform = { os, architecture, variant };
    const name = [os, architecture, variant].filter(Boolean).join('/');
    const other = byPlatform.get(name)?.one;
    if (other)
      throw new ImageError(
        'platform',
        `${other.source.name} and ${one.source.name} are both for ${name}; an index has one image for each platform.`,
        { hint: 'Build the others from stacks, or groups, that are concretized for other targets.' },
      );
    byPlatform.set(name, { one, platform });
  }
  const sorted = [...byPlatform].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, entry]) => entry);
  const index: ImageIndex = {
    schemaVersion: 2,
    mediaType: mediaTypes.index,
    manifests: sorted.map(({ one: { image }, platform }) => {
      const { mediaType, digest, size } = image.descriptor;
      return { mediaType, digest, size, platform };
    }),
  };
  const bytes = Buffer.from(JSON.stringify(index));
  const descriptor = { mediaType: mediaTypes.index, digest: digestOf(bytes), size: bytes.length };
  return { images: sorted.map(({ one }) => one), document: { bytes, descriptor } };
}

/** Pushes an index with all that it names; layers that another repository of the registry has are mounted. */
export async function pushIndex(
  { images, document }: PlatformIndex,
  target: RegistryRepository,
  tag: string,
  signal?: AbortSignal,
): Promise<Descriptor> {
  for (const one of images) {
    const { image, source } = one;
    const near = source instanceof RegistryRepository && source.registry === target.registry;
    const from = near && source.repository !== target.repository ? source.repository : undefined;
    for (const blob of [...image.manifest.layers, image.manifest.config])
      await target.putBlob(blob, () => source.blob(blob, signal), { from, signal });
    const { digest, mediaType } = image.descriptor;
    await target.putManifest(digest, await manifestOf(one, signal), mediaType, signal);
  }
  return target.putManifest(tag, document.bytes, document.descriptor.mediaType, signal);
}

/** Writes an index with all that it names into a layout, and names it last. */
export async function writeIndex(
  { images, document }: PlatformIndex,
  folder: string,
  tag: string,
  signal?: AbortSignal,
): Promise<Descriptor> {
  const layout = await ImageLayout.create(folder);
  // Under the lock, as another writer would take blobs that nothing names yet for left-overs.
  await locked(join(folder, 'index.json'), undefined, async () => {
    for (const one of images) {
      const { image, source } = one;
      for (const blob of [...image.manifest.layers, image.manifest.config])
        if (!(await layout.has(blob)))
          await layout.putStream(await source.blob(blob, signal), blob.mediaType, signal);
      const bytes = await manifestOf(one, signal);
      await layout.putBytes(bytes, image.descriptor.mediaType);
    }
    await layout.putBytes(document.bytes, document.descriptor.mediaType);
    await layout.tag(tag, document.descriptor);
    await layout.collectGarbage();
  });
  return document.descriptor;
}

/** The bytes of a manifest as its source has them: written anew, it could have another digest. */
async function manifestOf({ image, source }: BaseImage, signal: AbortSignal | undefined): Promise<Buffer> {
  const { digest } = image.descriptor;
  const found = await source.manifest(digest, signal);
  if (!found) throw new ImageError('base', `${source.name} no longer has the image ${digest}.`);
  return found.bytes;
}
