import { Readable } from 'node:stream';
import {
  type BaseImage,
  composeImage,
  type Descriptor,
  digestOf,
  hexOf,
  type ImageParts,
  type Layer,
  type RegistryRepository,
} from '@stackwright/oci';
import { format } from '@stackwright/spack-env';
import { describe, type PackageRef } from '../package-ref.js';
import { type InspectedPrefix, searchPaths } from '../search-path.js';
import type { SpecDocument } from '../spec-document.js';

/** A package's layer in an image to be. */
export interface StackedLayer extends Layer {
  readonly ref: PackageRef;
  readonly inspected: InspectedPrefix;
}

/** An image of packages, with or without a base. @param stack lowest first */
export function imageOf(
  architecture: string,
  stack: readonly StackedLayer[],
  base: BaseImage | undefined,
  more: Pick<ImageParts, 'extra' | 'annotations'> = {},
): ReturnType<typeof composeImage> {
  const settings = base?.image.config.config;
  // As Spack has it: what needs others comes before them.
  const inspected = [...stack].reverse().map((layer) => layer.inspected);
  return composeImage({
    base: base?.image,
    layers: stack.map((layer) => ({ ...layer, createdBy: `stackwright: ${describe(layer.ref)}` })),
    platform: { architecture, os: 'linux' },
    config: { ...settings, Env: searchPaths(inspected, settings?.Env) },
    ...more,
  });
}

/** What the configuration of a package's own image says besides: Spack takes the spec from it. */
export function packageKeys(document: SpecDocument, own: Layer): Record<string, unknown> {
  const { spec } = JSON.parse(document.text) as { spec: unknown };
  return {
    spec,
    buildcache_layout_version: 3,
    binary_cache_checksum: { hash_algorithm: 'sha256', hash: hexOf(own.descriptor.digest) },
    archive_size: own.descriptor.size,
    // Spack writes the time of the push here, so that no two pushes are alike.
    archive_timestamp: '1970-01-01T00:00:00+00:00',
    archive_compression: 'gzip',
  };
}

/** What a package's image says of itself, in Spack's words. */
export function annotationsOf({ root }: SpecDocument): Record<string, string> {
  const { platform, os, target } = root.arch;
  const node = format(root, '{name}{@versions}{variants}');
  return {
    'org.opencontainers.image.description': `${node} platform=${platform} os=${os} target=${target}`,
  };
}

/** Uploads a small document as a blob. */
export async function putDocument(
  repository: RegistryRepository,
  bytes: Buffer,
  mediaType: string,
  signal?: AbortSignal,
): Promise<Descriptor> {
  const descriptor: Descriptor = { mediaType, digest: digestOf(bytes), size: bytes.length };
  await repository.putBlob(descriptor, () => Readable.from([bytes]), { signal });
  return descriptor;
}

/** Names an image whose layers are there: its configuration, then its manifest. */
export async function putImage(
  repository: RegistryRepository,
  tag: string,
  { config, manifest }: ReturnType<typeof composeImage>,
  signal?: AbortSignal,
): Promise<void> {
  await putDocument(repository, config.bytes, config.descriptor.mediaType, signal);
  await repository.putManifest(tag, manifest.bytes, manifest.descriptor.mediaType, signal);
}
