import type { Descriptor, ImageConfig, Manifest as ImageManifest, Layer } from '@stackwright/oci';
import { BuildcacheError } from '../error.js';
import type { PackageRef } from '../package-ref.js';
import type { InspectedPrefix } from '../search-path.js';
import { foldersIn } from '../search-path.js';
import { parseSpecDocument, type SpecDocument } from '../spec-document.js';

/** A package in a registry: an image whose last layer is the package's tarball and whose config holds its spec. */
export interface OciPackage extends PackageRef {
  /** The package's own tarball. */
  readonly layer: Layer;
  readonly document: SpecDocument;
  readonly manifest: ImageManifest;
  readonly config: ImageConfig;
  /** The image. */
  readonly image: Descriptor;
}

/**
 * Reads what a package's tag holds.
 * @param where names it in messages
 * @throws BuildcacheError `manifest` when it is no image, `spec` when it is one but no package
 */
export function parseOciManifest(bytes: Buffer, where: string): ImageManifest {
  const manifest = parseJson(bytes, where) as ImageManifest;
  if (!manifest.config?.digest || !Array.isArray(manifest.layers) || manifest.layers.length === 0) {
    throw new BuildcacheError('manifest', `${where} is no image with layers.`, {
      key: where,
      hint: 'Push the package again with --force.',
    });
  }
  return manifest;
}

export function parseOciPackage(
  image: Descriptor,
  manifest: ImageManifest,
  configBytes: Buffer,
  where: string,
): OciPackage {
  const config = parseJson(configBytes, where) as ImageConfig & { readonly spec?: unknown };
  const descriptor = manifest.layers.at(-1)!;
  const diffId = config.rootfs?.diff_ids?.at(-1);
  if (!config.spec || !diffId || config.rootfs.diff_ids.length !== manifest.layers.length) {
    throw new BuildcacheError('spec', `${where} is an image, but no package of a build cache.`, {
      key: where,
    });
  }
  const document = parseSpecDocument(
    JSON.stringify({ spec: config.spec, buildcache_layout_version: 2 }),
    where,
  );
  const { name, version, hash } = document.root;
  return { name, version, hash, layer: { descriptor, diffId }, document, manifest, config, image };
}

/**
 * Where a package's own files lie and which folders are inspected, from the search paths of its image; undefined when
 * they do not tell, because its prefix does not hold its hash.
 */
export function inspectedIn({ config, hash }: OciPackage): InspectedPrefix | undefined {
  const env = config.config?.Env ?? [];
  const prefixes = env.find((entry) => entry.startsWith('CMAKE_PREFIX_PATH='))?.slice(18);
  const prefix = prefixes?.split(':').find((path) => path.includes(hash));
  return prefix === undefined ? undefined : { prefix, folders: foldersIn(env, prefix) };
}

function parseJson(bytes: Buffer, where: string): unknown {
  try {
    return JSON.parse(bytes.toString('utf8')) ?? {};
  } catch (error) {
    throw new BuildcacheError('manifest', `${where} is not JSON: ${(error as Error).message}.`, {
      key: where,
    });
  }
}
