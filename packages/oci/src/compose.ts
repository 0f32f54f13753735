import { type Descriptor, type Digest, type ImageConfig, type Manifest, mediaTypes } from './descriptor.js';
import { digestOf } from './digest.js';
import type { Image, ImageSource } from './source.js';

/** A layer that a manifest can name: the blob as it is stored, and the digest of what it unpacks to. */
export interface Layer {
  readonly descriptor: Descriptor;
  /** Of the uncompressed tar: what an image's configuration lists. */
  readonly diffId: Digest;
}

/** A layer and how it came to be, for the history of the image. */
export interface ComposedLayer extends Layer {
  readonly createdBy: string;
}

/** A small document of an image, ready to be written. */
export interface ImageDocument {
  readonly descriptor: Descriptor;
  readonly bytes: Buffer;
}

/** An image that another is built on, and where its blobs can be read. */
export interface BaseImage {
  readonly image: Image;
  readonly source: ImageSource;
}

export interface ImageParts {
  /** The image below: its manifest and configuration; none when left out. */
  readonly base?: Pick<Image, 'manifest' | 'config'>;
  /** The layers above those of the base, lowest first. */
  readonly layers: readonly ComposedLayer[];
  /** In OCI's words; the base's own count more. */
  readonly platform: { readonly architecture: string; readonly os: string };
  /** How a container starts. */
  readonly config?: ImageConfig['config'];
  /** RFC 3339; that of the base, or none, when left out. */
  readonly created?: string;
  /** Further keys of the configuration. */
  readonly extra?: Readonly<Record<string, unknown>>;
  /** Of the manifest. */
  readonly annotations?: Readonly<Record<string, string>>;
}

/**
 * An image of these layers on those of a base: its configuration and its manifest (OCI image spec 1.1). The same parts
 * give the same bytes.
 */
export function composeImage(parts: ImageParts): {
  readonly config: ImageDocument;
  readonly manifest: ImageDocument;
  /** Those of the manifest, the base's first. */
  readonly layers: readonly Descriptor[];
} {
  const layers = [...baseLayers(parts), ...parts.layers.map((layer) => layer.descriptor)];
  const config = documentOf({ ...configOf(parts), ...parts.extra }, mediaTypes.config);
  const manifest: Manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: config.descriptor,
    layers,
    annotations: parts.annotations,
  };
  return { config, manifest: documentOf(manifest, mediaTypes.manifest), layers };
}

/** A layer's descriptor as an OCI manifest names it: Docker has another word for the same bytes. */
export function ociLayer(descriptor: Descriptor): Descriptor {
  return { ...descriptor, mediaType: ociNames[descriptor.mediaType] ?? descriptor.mediaType };
}

const ociNames: Readonly<Record<string, string>> = {
  'application/vnd.docker.image.rootfs.diff.tar.gzip': mediaTypes.layerGzip,
  'application/vnd.docker.image.rootfs.diff.tar': mediaTypes.layerTar,
};

function baseLayers({ base }: ImageParts): Descriptor[] {
  return base?.manifest.layers.map(ociLayer) ?? [];
}

function configOf({ base, layers, platform, config, created }: ImageParts): ImageConfig {
  const below = base?.config;
  return {
    created: created ?? below?.created,
    author: below?.author,
    architecture: below?.architecture ?? platform.architecture,
    variant: below?.variant,
    os: below?.os ?? platform.os,
    config: config ?? below?.config,
    rootfs: {
      type: 'layers',
      diff_ids: [...(below?.rootfs.diff_ids ?? []), ...layers.map((layer) => layer.diffId)],
    },
    history: [...baseHistory(base), ...layers.map(({ createdBy }) => ({ created, created_by: createdBy }))],
  };
}

/** An image may do without a history, but one that is given has to tell of every layer. */
function baseHistory(base: ImageParts['base']): NonNullable<ImageConfig['history']> {
  if (!base) return [];
  const told = base.config.history ?? [];
  const missing = base.manifest.layers.length - told.filter((entry) => !entry.empty_layer).length;
  return [...told, ...Array.from({ length: Math.max(missing, 0) }, () => ({ created_by: 'base image' }))];
}

function documentOf(document: unknown, mediaType: string): ImageDocument {
  const bytes = Buffer.from(JSON.stringify(document));
  return { bytes, descriptor: { mediaType, digest: digestOf(bytes), size: bytes.length } };
}
