import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { describe, hasCode, type MirrorReader, type PackageManifest, v3 } from '@stackwright/buildcache';
import { parseAddress } from '@stackwright/oci';
import type { ConcreteNode, Lock } from '@stackwright/spack-env';
import { runtimeClosure } from './closure.js';
import { ImageError } from './error.js';
import type { PackageBlob, RepositoryName } from './layer.js';

/** A package of a mirror as a layer takes it: where the mirror is a folder, its blob's file is used in place. */
export function packageBlob(
  mirror: MirrorReader,
  node: ConcreteNode,
  manifest: PackageManifest,
): PackageBlob {
  const descriptor = manifest.tarball;
  const path = mirror.folder && join(mirror.folder, v3.blob(descriptor.digest));
  return {
    node,
    descriptor,
    open: async (signal) => (path ? createReadStream(path, { signal }) : mirror.tarball(manifest, signal)),
    path,
    repository: repositoryOf(mirror),
    statement: manifest.statement,
    vouched: manifest.signedBy !== undefined,
    spec: manifest.spec.digest,
    signedBy: manifest.signedBy,
  };
}

function repositoryOf({ url }: MirrorReader): RepositoryName | undefined {
  if (!/^oci(\+http)?:\/\//.test(url)) return undefined;
  const { registry, repository } = parseAddress(url);
  return { registry, repository };
}

async function manifestOf(mirror: MirrorReader, node: ConcreteNode, signal?: AbortSignal) {
  return (await mirror.package(node, signal)).manifest;
}

/**
 * Everything that an image of a lock holds, from a mirror, lowest layer first. Signatures are checked by the mirror's
 * policy.
 * @param known manifests that were read and checked before, by hash
 * @throws BuildcacheError for a bad signature or manifest, ImageError naming every package that the mirror lacks
 */
export async function packagesOf(
  mirror: MirrorReader,
  lock: Lock,
  options: { readonly known?: ReadonlyMap<string, PackageManifest>; readonly signal?: AbortSignal } = {},
): Promise<PackageBlob[]> {
  const nodes = runtimeClosure(lock);
  const found = new Map<string, PackageBlob>();
  let next = 0;
  const worker = async () => {
    for (let index = next++; index < nodes.length; index = next++) {
      const node = nodes[index] as ConcreteNode;
      const manifest =
        options.known?.get(node.hash) ??
        (await manifestOf(mirror, node, options.signal).catch((error: unknown) => {
          if (hasCode(error, 'missing-package')) return undefined;
          throw error;
        }));
      if (manifest) found.set(node.hash, packageBlob(mirror, node, manifest));
    }
  };
  await Promise.all(Array.from({ length: 16 }, worker));
  const missing = nodes.filter((node) => !found.has(node.hash));
  if (missing.length > 0) {
    throw new ImageError(
      'missing-packages',
      `${mirror.url} lacks ${missing.length} of the image's ${nodes.length} packages: ${missing.map(describe).join(', ')}.`,
      { hint: 'Build and push them first: stackwright run STACK --mirror URL' },
    );
  }
  return nodes.map((node) => found.get(node.hash) as PackageBlob);
}
