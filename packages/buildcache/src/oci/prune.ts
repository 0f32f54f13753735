import { detach, OciError } from '@stackwright/oci';
import type { ConcreteNode } from '@stackwright/spack-env';
import { neededBy } from '../care/prune.js';
import { BuildcacheError } from '../error.js';
import type { PrunePlan } from '../mirror-writer.js';
import { describe, type PackageRef } from '../package-ref.js';
import type { OciReader } from './reader.js';
import { updateOciIndex } from './reindex.js';
import { signedType } from './signed-manifest.js';
import { tagOf } from './tag.js';

/** Finds the packages that nothing kept links or runs. Nothing is deleted. Blobs are the registry's own to collect. */
export async function planOciPrune(
  mirror: OciReader,
  keep: ReadonlySet<string>,
  signal?: AbortSignal,
): Promise<PrunePlan> {
  const present = new Map<string, PackageRef>();
  for await (const ref of mirror.packages(signal)) present.set(ref.hash, ref);
  const indexed: ReadonlyMap<string, ConcreteNode> = (await mirror.hasIndex(signal))
    ? (await mirror.index(signal)).nodes
    : new Map();
  const kept = new Set<string>();
  for (const root of keep) {
    const ref = present.get(root);
    if (!ref) continue;
    const nodes = indexed.has(root) ? indexed : (await mirror.package(ref, signal)).document.nodes;
    for (const hash of neededBy(root, nodes)) kept.add(hash);
  }
  const packages = [...present.values()].filter((ref) => !kept.has(ref.hash));
  packages.sort((a, b) => (describe(a) < describe(b) ? -1 : 1));
  return { packages, kept: present.size - packages.length, manifests: new Map(), blobs: [], bytes: 0 };
}

/**
 * Deletes what the plan names, first from the index, then the packages' manifests.
 * @throws BuildcacheError `unsupported` when the registry lets nobody delete
 */
export async function pruneOci(mirror: OciReader, plan: PrunePlan, signal?: AbortSignal): Promise<void> {
  if (plan.packages.length === 0) return;
  const indexed = await mirror.hasIndex(signal);
  const exclude = new Set(plan.packages.map((ref) => ref.hash));
  if (indexed) await updateOciIndex(mirror, { exclude, signal });
  try {
    for (const ref of plan.packages) {
      const found = await mirror.repository.head(tagOf(ref), signal);
      if (!found) continue;
      await mirror.repository.deleteManifest(found.digest, signal);
      await detach(mirror.repository, found.digest, signedType, signal);
    }
  } catch (error) {
    if (!(error instanceof OciError) || error.details.status !== 405) throw error;
    throw new BuildcacheError('unsupported', `${mirror.url}: the registry lets nobody delete.`, {
      mirror: mirror.url,
      hint: 'Allow it in its configuration, or delete there.',
    });
  } finally {
    // Also what could not be deleted is in it again, and what others have pushed meanwhile.
    if (indexed) await updateOciIndex(mirror, { signal });
  }
}
