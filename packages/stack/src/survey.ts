import type { Mirror, PackageManifest } from '@stackwright/buildcache';
import type { Job, Location } from '@stackwright/job-graph';
import type { ConcreteNode } from '@stackwright/spack-env';
import pLimit from 'p-limit';
import type { MirrorPlace, StackMirrors } from './mirrors.js';

/** A package that may be taken from a mirror. */
export interface Usable {
  readonly state: 'usable';
  readonly place: MirrorPlace;
  readonly mirror: Mirror;
  /** Its signature was checked as the place owes; undefined where an index was believed. */
  readonly manifest: PackageManifest | undefined;
}

/** A package that a mirror has and that does not count: it is as if it were not there, but the reason is told. */
export interface Refused {
  readonly state: 'refused';
  readonly place: MirrorPlace;
  /** A few words: `not signed on file:///mirror`. */
  readonly reason: string;
  /** What was wrong, where something was read; an index alone tells no more than `reason`. */
  readonly error: Error | undefined;
}

/** What the mirrors say of packages. What is in neither map is absent everywhere. */
export interface Survey {
  /** By dag hash, in the order of the nodes that were asked for. */
  readonly packages: ReadonlyMap<string, Usable | Refused>;
}

export interface SurveyOptions {
  /**
   * `index`: believe the indexes and look at nothing else. `manifests`: look at every package. Left out: ask the index
   * first, then look at what it lacks, and, since an index tells nothing of signatures, at all of a signed mirror.
   */
  readonly by?: 'index' | 'manifests';
  readonly onProgress?: (done: number, all: number) => void;
  /** Told of each entry of the indexes that are read. */
  readonly onEntry?: (entry: IndexEntry) => void;
}

/** What an index lists: the packages of its mirror, and what they depend on. */
export interface IndexEntry {
  readonly node: ConcreteNode;
  readonly inBuildcache: boolean;
}

/**
 * Asks the mirrors for packages, one mirror after the other for what is not usable yet. One rule says what counts, for
 * every command: a package whose signature is missing, wrong or by nobody who is trusted, or whose manifest is broken,
 * is refused.
 * @throws the errors of mirrors that cannot be asked at all
 */
export async function survey(
  mirrors: StackMirrors,
  nodes: readonly ConcreteNode[],
  options: SurveyOptions = {},
): Promise<Survey> {
  const found = new Map<string, Usable | Refused>();
  const wanted = nodes.filter((node) => !node.external);
  const all = wanted.length * mirrors.places.length;
  let done = 0;
  const limit = pLimit(32);
  for (const place of mirrors.places) {
    const mirror = await mirrors.reader(place);
    if (!mirror) continue;
    const index = options.by === 'manifests' ? undefined : await readIndex(mirrors, mirror, options);
    try {
      await Promise.all(
        wanted.map((node) =>
          limit(async () => {
            mirrors.caller.signal.throwIfAborted();
            if (found.get(node.hash)?.state !== 'usable') {
              const answer = await ask(mirror, place, node, index, options, mirrors.caller.signal);
              if (answer) found.set(node.hash, answer);
            }
            options.onProgress?.((done += 1), all);
          }),
        ),
      );
    } finally {
      limit.clearQueue();
    }
  }
  // In the order of the nodes, so that nothing depends on which answer came first.
  return {
    packages: new Map(
      wanted.flatMap(({ hash }) => {
        const answer = found.get(hash);
        return answer ? [[hash, answer] as const] : [];
      }),
    ),
  };
}

/** For pruning: where a job's package is, or why it does not count. */
export function locate({ packages }: Survey): (job: Job) => Location | undefined {
  return ({ hash }) => {
    const found = packages.get(hash);
    if (!found) return undefined;
    return found.state === 'usable' ? { mirror: found.place.fetch } : { refused: found.reason };
  };
}

/** The packages that a mirror has and that may not be used. */
export function refusedBy({ packages }: Survey, place: MirrorPlace | undefined): Refused[] {
  return [...packages.values()].filter(
    (found): found is Refused => found.state === 'refused' && found.place === place,
  );
}

async function ask(
  mirror: Mirror,
  place: MirrorPlace,
  node: ConcreteNode,
  index: ReadonlySet<string> | undefined,
  { by }: SurveyOptions,
  signal: AbortSignal,
): Promise<Usable | Refused | undefined> {
  const listed = index?.has(node.hash) ?? false;
  if (by === 'index' || (listed && place.unsigned)) {
    return listed ? { state: 'usable', place, mirror, manifest: undefined } : undefined;
  }
  const { hasCode } = await import('@stackwright/buildcache');
  try {
    return { state: 'usable', place, mirror, manifest: (await mirror.package(node, signal)).manifest };
  } catch (error) {
    if (hasCode(error, 'missing-package')) {
      const reason = `in the index of ${place.fetch}, but not there`;
      return listed ? { state: 'refused', place, reason, error } : undefined;
    }
    const why = await whyRefused(error);
    if (why === undefined) throw error;
    return { state: 'refused', place, reason: `${why} on ${place.fetch}`, error: error as Error };
  }
}

/** Why a package that is there does not count; undefined for errors that say nothing of the package. */
async function whyRefused(error: unknown): Promise<string | undefined> {
  const { hasCode, isUnvouched } = await import('@stackwright/buildcache');
  if (hasCode(error, 'signature-missing')) return 'not signed';
  if (hasCode(error, 'signature-wrong')) return 'wrongly signed';
  if (hasCode(error, 'signature-untrusted')) return 'signed by no trusted key';
  if (hasCode(error, 'signature-old')) return 'signed too long ago';
  if (hasCode(error, 'signature-expired', 'key-expired')) return 'signature expired';
  if (isUnvouched(error)) return `signature does not count (${error.code})`;
  if (hasCode(error, 'wrong-package')) return 'another package in its place';
  if (hasCode(error, 'dag-hash')) return 'spec changed after it was hashed';
  if (hasCode(error, 'statement')) return 'statement does not match';
  if (hasCode(error, 'manifest')) return 'broken manifest';
  if (hasCode(error, 'spec', 'compression', 'checksum', 'length', 'missing-blob')) return 'damaged';
  return undefined;
}

/** Hashes that a mirror's index has; a broken index is told and counts as none, unless nothing else is looked at. */
async function readIndex(
  { caller }: StackMirrors,
  mirror: Mirror,
  { by, onEntry }: SurveyOptions,
): Promise<ReadonlySet<string>> {
  const hashes = new Set<string>();
  try {
    if (!(await mirror.hasIndex(caller.signal))) return hashes;
    for await (const entry of mirror.indexEntries(caller.signal)) {
      if (entry.inBuildcache) hashes.add(entry.node.hash);
      onEntry?.(entry);
    }
    return hashes;
  } catch (error) {
    const { BuildcacheError } = await import('@stackwright/buildcache');
    if (by === 'index' || !(error instanceof BuildcacheError)) throw error;
    caller.note(`Warning: ${error.message} The index is not used; each package is looked up.`);
    return new Set();
  }
}
