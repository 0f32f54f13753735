import { Readable } from 'node:stream';
import {
  type Descriptor,
  digestOf,
  type Image,
  type ImageConfig,
  type ImageSource,
  mediaTypes,
  type RegistryRepository,
} from '@stackwright/oci';
import { format } from '@stackwright/spack-env';
import { describe, type PackageRef } from '../package-ref.js';
import { type InspectedPrefix, searchPaths } from '../search-path.js';
import type { SpecDocument } from '../spec-document.js';
import type { PackageLayer } from './package.js';

/** An image that packages are put on. */
export interface BaseImage {
  readonly image: Image;
  readonly source: ImageSource;
}

/** A package's layer in an image to be. */
export interface StackedLayer extends PackageLayer {
  readonly ref: PackageRef;
  readonly inspected: InspectedPrefix;
}

/** A manifest's content but for what is the same in all. */
export interface ImageParts {
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
  readonly annotations?: Readonly<Record<string, string>>;
}

/**
 * The configuration of an image of packages, with or without a base.
 * @param stack lowest first
 */
export function imageConfig(
  architecture: string,
  stack: readonly StackedLayer[],
  base: BaseImage | undefined,
): ImageConfig {
  const below = base?.image.config;
  const baseLayers = base?.image.manifest.layers ?? [];
  // As Spack has it: what needs others comes before them.
  const inspected = [...stack].reverse().map((layer) => layer.inspected);
  return {
    ...(below ?? { architecture, os: 'linux' }),
    config: { ...below?.config, Env: searchPaths(inspected, below?.config?.Env) },
    rootfs: {
      type: 'layers',
      diff_ids: [...(below?.rootfs.diff_ids ?? []), ...stack.map((layer) => layer.diffId)],
    },
    history: [
      // An image may do without a history; one that is given has to tell of every layer.
      ...(below?.history ?? baseLayers.map(() => ({ created_by: 'base image' }))),
      ...stack.map(({ ref }) => ({ created_by: `stackwright: ${describe(ref)}` })),
    ],
  };
}

/** The configuration of a package's own image: Spack takes the spec from it. */
export function packageConfig(
  document: SpecDocument,
  own: PackageLayer,
  image: ImageConfig,
): Record<string, unknown> {
  const { spec } = JSON.parse(document.text) as { spec: unknown };
  return {
    ...image,
    spec,
    buildcache_layout_version: 3,
    binary_cache_checksum: { hash_algorithm: 'sha256', hash: own.descriptor.digest.slice('sha256:'.length) },
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

/** A base's layers as an OCI manifest names them: Docker has another word for the same bytes. */
export function baseDescriptors(base: BaseImage | undefined): Descriptor[] {
  return (base?.image.manifest.layers ?? []).map((layer) => ({
    ...layer,
    mediaType: layer.mediaType.replace(
      'application/vnd.docker.image.rootfs.diff.tar.gzip',
      mediaTypes.layerGzip,
    ),
  }));
}

/** Uploads small content. */
export async function putBytes(
  repository: RegistryRepository,
  bytes: Buffer,
  mediaType: string,
  signal?: AbortSignal,
): Promise<Descriptor> {
  const descriptor: Descriptor = { mediaType, digest: digestOf(bytes), size: bytes.length };
  await repository.putBlob(descriptor, () => Readable.from([bytes]), { signal });
  return descriptor;
}

/** Writes a manifest, the last step of an image: all that it names is there. */
export async function putImage(
  repository: RegistryRepository,
  tag: string,
  { config, layers, annotations }: ImageParts,
  signal?: AbortSignal,
): Promise<void> {
  const manifest = {
    mediaType: mediaTypes.manifest,
    schemaVersion: 2,
    config,
    layers,
    ...(annotations ? { annotations } : {}),
  };
  await repository.putManifest(tag, Buffer.from(JSON.stringify(manifest)), mediaTypes.manifest, signal);
}
