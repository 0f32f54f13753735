import { mediaTypes } from '@stackwright/oci';
import pLimit from 'p-limit';
import type { CopyOptions, CopyOutcome } from '../care/copy.js';
import { hasCode } from '../error.js';
import { readLayerFacts } from '../layer-facts.js';
import type { PackageMirror } from '../mirror.js';
import { describe, type PackageRef } from '../package-ref.js';
import { spooled } from '../unpack/pull.js';
import type { PackageManifest } from '../v3/reader.js';
import { inspectedIn, type PackageLayer } from './package.js';
import { type PublishOptions, publish, sameRegistry, type Upload } from './publish.js';
import { OciMirror } from './reader.js';

/**
 * Copies packages from any mirror into a registry, each verified by the source's policy. Signatures stay behind: a
 * registry has no place for them. Within one registry nothing is sent.
 */
export async function copyToRegistry(
  from: PackageMirror,
  to: OciMirror,
  refs: readonly PackageRef[],
  options: Omit<CopyOptions, 'signer'> & Pick<PublishOptions, 'base'> = {},
): Promise<{ outcomes: Map<string, CopyOutcome>; failed: { package: PackageRef; error: Error }[] }> {
  const { signal } = options;
  const outcomes = new Map<string, CopyOutcome>();
  const failed: { package: PackageRef; error: Error }[] = [];
  const progress = () => options.onProgress?.(outcomes.size + failed.length, refs.length);
  const limit = pLimit(options.parallel ?? 8);
  const uploads: Upload[] = [];
  await Promise.all(
    refs.map((ref) =>
      limit(async () => {
        try {
          signal?.throwIfAborted();
          const { manifest } = await from.package(ref, signal);
          uploads.push(uploadOf(from, to, manifest, signal));
        } catch (error) {
          const untrusted = hasCode(error, 'signature-missing', 'signature-untrusted', 'signature-expired');
          if (options.onlyTrusted && untrusted) outcomes.set(ref.hash, 'left-out');
          else failed.push({ package: ref, error: error as Error });
          progress();
        }
      }),
    ),
  );
  signal?.throwIfAborted();
  await publish(to, uploads, {
    ...options,
    onDone: ({ hash, ...ref }, outcome) => {
      if (outcome instanceof Error) failed.push({ package: { hash, ...ref }, error: outcome });
      else outcomes.set(hash, outcome === 'pushed' ? 'copied' : 'present');
      progress();
    },
  });
  return { outcomes, failed };
}

function uploadOf(
  from: PackageMirror,
  to: OciMirror,
  manifest: PackageManifest,
  signal?: AbortSignal,
): Upload {
  const { checksum, contentLength } = manifest.tarball;
  const digest = `sha256:${checksum}` as const;
  const descriptor = { mediaType: mediaTypes.layerGzip, digest, size: contentLength };
  return {
    name: manifest.name,
    version: manifest.version,
    hash: manifest.hash,
    document: async () => (await from.package(manifest, signal)).document,
    digest,
    put: async () => {
      const known = from instanceof OciMirror ? await knownLayer(from, manifest, signal) : undefined;
      if (known) {
        await to.repository.putBlob(descriptor, () => from.tarball(manifest, signal), {
          from: sameRegistry(to, (from as OciMirror).repository),
          signal,
        });
        return { descriptor, diffId: known.diffId, inspected: known };
      }
      const { open, dispose } = await spooled(from, manifest, { signal });
      try {
        // Read to its end before a byte is sent: nothing wrong gets into the registry.
        const { diffId, prefix, folders } = await readLayerFacts(await open(), describe(manifest), signal);
        await to.repository.putBlob(descriptor, open, { signal });
        return { descriptor, diffId, inspected: { prefix, folders } };
      } finally {
        await dispose();
      }
    },
  };
}

/** What a registry knows of a layer without reading it. */
async function knownLayer(
  from: OciMirror,
  manifest: PackageManifest,
  signal?: AbortSignal,
): Promise<(Pick<PackageLayer, 'diffId'> & NonNullable<ReturnType<typeof inspectedIn>>) | undefined> {
  const found = await from.packageOf(manifest, signal);
  const inspected = inspectedIn(found);
  return inspected && { diffId: found.layer.diffId, ...inspected };
}
