import pLimit from 'p-limit';
import { isUnvouched } from '../error.js';
import { readLayerFacts } from '../layer-facts.js';
import type { MirrorReader, PackageManifest } from '../mirror.js';
import type { CopyOptions, CopyOutcome, CopyResult, PackageFailure } from '../mirror-writer.js';
import { describe, type PackageRef } from '../package-ref.js';
import { checkStatedTarball } from '../statement.js';
import { spooled } from '../unpack/pull.js';
import { manifestText } from '../v3/copy.js';
import { publish, sameRegistry, type Upload } from './publish.js';
import { OciManifest, type OciReader } from './reader.js';

/**
 * Copies packages from any mirror into a registry, each verified by the source's policy. Signed manifests are attached to
 * the packages' images. Within one registry no tarball is sent.
 */
export async function copyToRegistry(
  from: MirrorReader,
  to: OciReader,
  refs: readonly PackageRef[],
  options: CopyOptions = {},
): Promise<CopyResult> {
  const { signal } = options;
  const outcomes = new Map<string, CopyOutcome>();
  const failed: PackageFailure[] = [];
  const progress = () => options.onProgress?.(outcomes.size + failed.length, refs.length);
  const limit = pLimit(options.parallel ?? 8);
  const uploads: Upload[] = [];
  await Promise.all(
    refs.map((ref) =>
      limit(async () => {
        try {
          signal?.throwIfAborted();
          const { manifest } = await from.package(ref, signal);
          uploads.push(uploadOf(from, to, manifest, options));
        } catch (error) {
          if (options.onlyTrusted && isUnvouched(error)) outcomes.set(ref.hash, 'left-out');
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
  from: MirrorReader,
  to: OciReader,
  manifest: PackageManifest,
  options: CopyOptions,
): Upload {
  const descriptor = manifest.tarball;
  const { signer, signal } = options;
  return {
    name: manifest.name,
    version: manifest.version,
    hash: manifest.hash,
    document: async () => (await from.package(manifest, signal)).document,
    digest: descriptor.digest,
    signs: signer !== undefined || manifest.signed,
    signer,
    signed: async () => {
      if (!signer && !manifest.signed) return undefined;
      const text = await manifestText(manifest, from, options);
      const { specBytes } = await from.package(manifest, signal);
      return { text, specBytes };
    },
    put: async () => {
      if (manifest instanceof OciManifest && manifest.inspected) {
        await to.repository.putBlob(descriptor, () => from.tarball(manifest, signal), {
          from: sameRegistry(to, manifest.repository),
          signal,
        });
        return { descriptor, diffId: manifest.diffId, inspected: manifest.inspected };
      }
      const { open, dispose } = await spooled(from, manifest, { signal });
      try {
        // Read to its end before a byte is sent: nothing wrong gets into the registry.
        const facts = await readLayerFacts(await open(), describe(manifest), signal);
        checkStatedTarball(manifest, manifest.statement, facts);
        const { diffId, prefix, folders } = facts;
        await to.repository.putBlob(descriptor, open, { signal });
        return { descriptor, diffId, inspected: { prefix, folders } };
      } finally {
        await dispose();
      }
    },
  };
}
