import { FolderStore, readObject } from '@stackwright/storage';
import pLimit from 'p-limit';
import { describe, type PackageRef, packageOfKey, v3 } from './layout.js';
import { manifestLimit, parseManifest } from './manifest.js';
import type { Mirror } from './mirror.js';
import { type IndexResult, updateIndex } from './reindex.js';
import { signedText } from './signature.js';

const defaultGrace = 24 * 3_600_000;

export interface PruneOptions {
  /** Packages to keep, with all that they link or run; left out: packages are kept, only orphans go. */
  readonly keep?: ReadonlySet<string>;
  /** Delete only packages whose manifest is at least this old, in milliseconds. */
  readonly olderThan?: number;
  /** Leave blobs alone that are younger, in milliseconds: someone may be pushing. A day when left out. */
  readonly grace?: number;
  readonly signal?: AbortSignal;
}

/** What a pruning would delete. */
export interface PrunePlan {
  readonly packages: readonly PackageRef[];
  /** Packages that stay. */
  readonly kept: number;
  readonly blobs: readonly { readonly key: string; readonly size: number }[];
  /** Bytes that all these blobs have. */
  readonly bytes: number;
}

/**
 * Finds what can go: packages that nothing kept needs, and blobs that no manifest names. Nothing is deleted.
 * @throws BuildcacheError for a manifest that cannot be read: what it names would look like an orphan
 */
export async function planPrune(mirror: Mirror, options: PruneOptions = {}): Promise<PrunePlan> {
  const { signal } = options;
  const reader = mirror.withPolicy({ kind: 'unsigned' });
  const limit = pLimit(16);
  const present = new Map<string, PackageRef & { age: number; blobs: string[] }>();
  const others: string[] = [];
  const reading: Promise<void>[] = [];
  for await (const info of mirror.store.list('v3/manifests/', { signal })) {
    const ref = packageOfKey(info.key);
    const job = limit(async () => {
      if (!info.key.endsWith('.manifest.json')) return;
      const { bytes } = await readObject(mirror.store, info.key, manifestLimit, signal);
      const blobs = parseManifest(signedText(bytes.toString('utf8'), info.key), info.key).data.map(
        (one) => one.checksum,
      );
      if (ref) present.set(ref.hash, { ...ref, age: Date.now() - (info.modified?.getTime() ?? 0), blobs });
      else others.push(...blobs);
    });
    // Awaited below, all together; a failure before that must not count as unhandled.
    job.catch(() => {});
    reading.push(job);
  }
  await Promise.all(reading);

  const kept = options.keep || options.olderThan !== undefined ? new Set<string>() : new Set(present.keys());
  const roots = [...present.values()].filter(
    (one) => options.keep?.has(one.hash) || (options.olderThan !== undefined && one.age < options.olderThan),
  );
  await Promise.all(
    roots.map((ref) =>
      limit(async () => {
        kept.add(ref.hash);
        const { nodes } = await reader.spec(await reader.manifest(ref, signal), signal);
        const queue = [ref.hash];
        const seen = new Set<string>();
        for (let hash = queue.pop(); hash !== undefined; hash = queue.pop()) {
          if (seen.has(hash)) continue;
          seen.add(hash);
          kept.add(hash);
          for (const edge of nodes.get(hash)?.dependencies ?? []) {
            if (edge.types.includes('link') || edge.types.includes('run')) queue.push(edge.hash);
          }
        }
      }),
    ),
  );
  const packages = [...present.values()].filter((one) => !kept.has(one.hash));
  const named = new Set(others);
  for (const one of present.values()) if (kept.has(one.hash)) for (const blob of one.blobs) named.add(blob);

  const grace = options.grace ?? defaultGrace;
  const blobs: { key: string; size: number }[] = [];
  for await (const info of mirror.store.list(v3.blobs, { signal })) {
    const match = /^blobs\/sha256\/[0-9a-f]{2}\/([0-9a-f]{64})$/.exec(info.key);
    if (!match || named.has(match[1]!)) continue;
    if (info.modified && Date.now() - info.modified.getTime() < grace) continue;
    blobs.push({ key: info.key, size: info.size ?? 0 });
  }
  return {
    packages: packages
      .map(({ name, version, hash }) => ({ name, version, hash }))
      .sort((a, b) => (describe(a) < describe(b) ? -1 : 1)),
    kept: present.size - packages.length,
    blobs,
    bytes: blobs.reduce((sum, one) => sum + one.size, 0),
  };
}

/**
 * Deletes what the plan names: first from the index, then manifests, then blobs, so that a reader never finds a name
 * without what it names.
 */
export async function prune(
  mirror: Mirror,
  plan: PrunePlan,
  options: PruneOptions = {},
): Promise<{ index: IndexResult | undefined; swept: number }> {
  const { signal } = options;
  const going = new Set(plan.packages.map((ref) => ref.hash));
  const indexed = (await mirror.store.head(v3.index, { signal })) !== undefined;
  const index =
    going.size > 0 && indexed
      ? await updateIndex(mirror, { exclude: going, keepReplaced: options.grace, signal })
      : undefined;
  await mirror.store.delete(
    plan.packages.map((ref) => v3.spec(ref)),
    { signal },
  );
  await mirror.store.delete(await untouched(mirror, plan, options), { signal });
  const swept =
    mirror.store instanceof FolderStore ? await mirror.store.sweep(options.grace ?? defaultGrace, signal) : 0;
  return { index, swept };
}

/** The plan's blobs that nobody has written again since: a push that takes up where it was cut off needs the others. */
async function untouched(mirror: Mirror, plan: PrunePlan, options: PruneOptions): Promise<string[]> {
  if (plan.blobs.length === 0) return [];
  const planned = new Set(plan.blobs.map((blob) => blob.key));
  const grace = options.grace ?? defaultGrace;
  const keys: string[] = [];
  for await (const { key, modified } of mirror.store.list(v3.blobs, { signal: options.signal })) {
    if (planned.has(key) && !(modified && Date.now() - modified.getTime() < grace)) keys.push(key);
  }
  return keys;
}
