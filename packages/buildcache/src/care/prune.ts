import type { ConcreteNode } from '@stackwright/spack-env';
import { isNotFound, type ObjectInfo, StorageError } from '@stackwright/storage';
import pLimit from 'p-limit';
import { hasCode } from '../error.js';
import { updateIndex } from '../index/reindex.js';
import type { IndexResult, ManifestNames, PruneOptions, PrunePlan } from '../mirror-writer.js';
import { describe, type PackageRef } from '../package-ref.js';
import { signedText } from '../sign/signature.js';
import { digestOfKey, packageOfKey, v3 } from '../v3/layout.js';
import { blobOf, parseManifest, readManifest } from '../v3/manifest.js';
import type { V3Reader } from '../v3/reader.js';

const defaultGrace = 24 * 3_600_000;

/**
 * Finds what can go: packages that nothing kept needs, and blobs that no manifest names. Nothing is deleted.
 * @throws BuildcacheError for a manifest that cannot be read: what it names would look like an orphan
 */
export async function planPrune(mirror: V3Reader, options: PruneOptions = {}): Promise<PrunePlan> {
  const { signal } = options;
  const reader = mirror.withPolicy({ kind: 'unsigned' });
  const limit = pLimit(16);
  const manifests = await readNames(mirror, new Map(), signal);
  const present = new Map<string, PackageRef & { age: number }>();
  for (const { ref, modified } of manifests.values()) {
    if (ref) present.set(ref.hash, { ...ref, age: Date.now() - (modified?.getTime() ?? 0) });
  }

  const kept = options.keep || options.olderThan !== undefined ? new Set<string>() : new Set(present.keys());
  const roots = [...present.values()].filter(
    (one) => options.keep?.has(one.hash) || (options.olderThan !== undefined && one.age < options.olderThan),
  );
  await Promise.all(
    roots.map((ref) =>
      limit(async () => {
        const { nodes } = (await reader.package(ref, signal)).document;
        for (const hash of neededBy(ref.hash, nodes)) kept.add(hash);
      }),
    ),
  );
  const packages = [...present.values()].filter((one) => !kept.has(one.hash));
  const named = new Set<string>();
  for (const { ref, blobs } of manifests.values()) {
    if (!ref || kept.has(ref.hash)) for (const blob of blobs) named.add(blob);
  }

  const grace = options.grace ?? defaultGrace;
  const blobs: PrunePlan['blobs'][number][] = [];
  for await (const info of mirror.store.list(v3.blobs, { signal })) {
    const digest = digestOfKey(info.key);
    if (digest === undefined || named.has(digest)) continue;
    if (info.modified && Date.now() - info.modified.getTime() < grace) continue;
    blobs.push({ key: info.key, size: info.size ?? 0, version: versionOf(info) });
  }
  return {
    packages: packages
      .map(({ name, version, hash }) => ({ name, version, hash }))
      .sort((a, b) => (describe(a) < describe(b) ? -1 : 1)),
    kept: present.size - packages.length,
    blobs,
    bytes: blobs.reduce((sum, one) => sum + one.size, 0),
    manifests,
  };
}

/** A package's own hash and those of all that it links or runs, of nodes that are not known too. */
export function neededBy(root: string, nodes: ReadonlyMap<string, ConcreteNode>): Set<string> {
  const needed = new Set([root]);
  // A Set goes on with what is added while it is walked.
  for (const hash of needed) {
    for (const edge of nodes.get(hash)?.dependencies ?? [])
      if (edge.types.includes('link') || edge.types.includes('run')) needed.add(edge.hash);
  }
  return needed;
}

/**
 * Deletes what the plan names: first from the index, then manifests, then blobs, so that a reader never finds a name
 * without what it names. A blob that was written again or named since the plan was made stays: a push that goes on where
 * it was cut off needs it, or an index.
 */
export async function prune(
  mirror: V3Reader,
  plan: PrunePlan,
  options: PruneOptions = {},
): Promise<{ index: IndexResult | undefined; swept: number }> {
  const { signal } = options;
  const going = new Set(plan.packages.map((ref) => ref.hash));
  const indexed = going.size > 0 && (await mirror.store.head(v3.index, { signal })) !== undefined;
  const settings = { keepReplaced: options.grace, signal };
  const index = indexed ? await updateIndex(mirror, { exclude: going, ...settings }) : undefined;
  await mirror.store.delete(
    plan.packages.map((ref) => v3.spec(ref)),
    { signal },
  );
  const views = going.size > 0 ? await mirror.views(signal) : [];
  const refresh = (name: string) =>
    updateIndex(mirror, { view: { name, mode: 'refresh' }, ...settings }).catch((error: unknown) => {
      // A view that somebody deleted meanwhile needs no repair.
      if (!hasCode(error, 'missing-view')) throw error;
    });
  for (const name of views) await refresh(name);
  // Whoever wrote the index between these two steps saw the packages that are gone now.
  if (indexed) await updateIndex(mirror, settings);
  await mirror.store.delete(await orphansLeft(mirror, plan, signal), { signal });
  const swept =
    (await mirror.store.sweep?.(options.grace ?? defaultGrace, signal).catch((error: unknown) => {
      // Not everybody who may delete objects may list what was begun; that is no reason to fail at the very end.
      if (error instanceof StorageError && error.code === 'denied') return 0;
      throw error;
    })) ?? 0;
  return { index, swept };
}

/** The plan's blobs that nobody has written again or named since. */
async function orphansLeft(mirror: V3Reader, plan: PrunePlan, signal?: AbortSignal): Promise<string[]> {
  if (plan.blobs.length === 0) return [];
  const planned = new Map(plan.blobs.map((blob) => [blob.key, blob.version]));
  const same: string[] = [];
  for await (const info of mirror.store.list(v3.blobs, { signal })) {
    if (planned.get(info.key) === versionOf(info)) same.push(info.key);
  }
  // Read last: what is named by now may have been there, unnamed, when the plan was made.
  const named = new Set<string>(
    [...(await readNames(mirror, plan.manifests, signal)).values()].flatMap((one) => one.blobs),
  );
  return same.filter((key) => !named.has(digestOfKey(key) ?? ''));
}

/** What every manifest names, by its key. Those that have not changed since `known` are not read again. */
async function readNames(
  mirror: V3Reader,
  known: ReadonlyMap<string, ManifestNames>,
  signal?: AbortSignal,
): Promise<Map<string, ManifestNames>> {
  const limit = pLimit(16);
  const names = new Map<string, ManifestNames>();
  const reading: Promise<void>[] = [];
  for await (const { key, etag, modified } of mirror.store.list('v3/manifests/', { signal })) {
    if (!key.endsWith('.manifest.json')) continue;
    const before = known.get(key);
    if (before && etag !== undefined && before.etag === etag) {
      names.set(key, before);
      continue;
    }
    const job = limit(async () => {
      const found = await readManifest(mirror.store, key, signal).catch((error: unknown) => {
        // Deleted since it was listed: then it names nothing.
        if (!isNotFound(error)) throw error;
      });
      if (!found) return;
      const { data } = parseManifest(signedText(found.bytes.toString('utf8'), key), key);
      const blobs = data.map((one) => blobOf(one).digest);
      names.set(key, { ref: packageOfKey(key), etag, modified, blobs });
    });
    // Awaited below, all together; a failure before that must not count as unhandled.
    job.catch(() => {});
    reading.push(job);
  }
  await Promise.all(reading);
  return names;
}

/** S3's etag is made of the content alone, so the time counts too. */
function versionOf({ etag, modified }: ObjectInfo): string {
  return `${etag} ${modified?.getTime()}`;
}
