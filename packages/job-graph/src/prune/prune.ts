import { assemble, type Job, type JobGraph, reach } from '../graph/graph.js';

/** What a pruner says of one job, and why, in a few words; empty when there is nothing to tell. */
export interface Decision {
  readonly action: 'build' | 'skip';
  readonly reason: string;
}

/** One reason to leave jobs out. Pure: what it needs to know was read before. */
export type Pruner = (job: Job) => Decision;

/** A pruned graph, and what was decided of every job of the full one. */
export interface Pruned {
  readonly full: JobGraph;
  /** Only the jobs to build; a dependency through left-out jobs is an edge of its own. */
  readonly graph: JobGraph;
  readonly decisions: ReadonlyMap<string, Decision>;
}

/**
 * Asks every pruner about every job. A job is built when all say so; the reason given for leaving it out is the
 * first pruner's that wants it left out, so put the most telling pruner first.
 */
export function prune(full: JobGraph, pruners: readonly Pruner[]): Pruned {
  const decisions = new Map<string, Decision>();
  for (const job of full.jobs.values()) {
    const said = pruners.map((ask) => ask(job));
    const skip = said.find((decision) => decision.action === 'skip');
    const reason = said
      .map((decision) => decision.reason)
      .filter(Boolean)
      .join(', ');
    decisions.set(job.hash, skip ?? { action: 'build', reason: reason || 'not pruned' });
  }
  return { full, graph: keep(full, (job) => decisions.get(job.hash)!.action === 'build'), decisions };
}

/** The graph of only some jobs, in which what was reachable through the others still is. */
export function keep(graph: JobGraph, wanted: (job: Job) => boolean): JobGraph {
  const kept = new Set([...graph.jobs.values()].filter(wanted).map((job) => job.hash));
  // For a job that is left out: the kept jobs that stand in its place below its dependents.
  const stand = new Map<string, ReadonlySet<string>>();
  const below = (job: Job) => {
    const hashes = new Set<string>();
    for (const hash of job.dependencies) {
      if (kept.has(hash)) hashes.add(hash);
      else for (const further of stand.get(hash)!) hashes.add(further);
    }
    return hashes;
  };
  const loose = [];
  for (const job of graph.jobs.values()) {
    const dependencies = below(job);
    if (kept.has(job.hash)) loose.push({ node: job.node, root: job.root, dependencies });
    else stand.set(job.hash, dependencies);
  }
  return assemble(loose);
}

/** Leaves out what the system provides. */
export const externals: Pruner = (job) =>
  job.node.external ? { action: 'skip', reason: 'external' } : { action: 'build', reason: '' };

/** Where a job's binary already is, or why one that is there does not count (for example `signature missing`). */
export type Location = { readonly mirror: string } | { readonly refused: string };

/** Leaves out what a mirror has. The mirrors were read before; `find` only looks up. */
export function upToDate(find: (job: Job) => Location | undefined): Pruner {
  return (job) => {
    const found = find(job);
    if (found && 'mirror' in found) return { action: 'skip', reason: `up to date on ${found.mirror}` };
    return { action: 'build', reason: found ? found.refused : 'on no mirror' };
  };
}

/** Leaves out all but the affected jobs (see `affectedBy`). */
export function untouched(affected: ReadonlySet<string>): Pruner {
  return (job) =>
    affected.has(job.hash)
      ? { action: 'build', reason: 'affected by the change' }
      : { action: 'skip', reason: 'untouched by the change' };
}

/**
 * The jobs that a change of recipes can affect: those packages, their dependents up to `depth` edges up, and all
 * dependencies of these.
 * @param depth how far up: 0 is the packages alone, undefined up to the roots, less than 0 nothing at all
 */
export function affectedBy(
  graph: JobGraph,
  packages: ReadonlySet<string>,
  depth: number | undefined,
): Set<string> {
  let front = [...graph.jobs.values()].filter((job) => packages.has(job.node.name)).map((job) => job.hash);
  const up = new Set<string>();
  for (let level = 0; front.length > 0 && (depth === undefined || level <= depth); level++) {
    for (const hash of front) up.add(hash);
    const above = new Set(front.flatMap((hash) => graph.jobs.get(hash)?.dependents ?? []));
    front = [...above].filter((hash) => !up.has(hash));
  }
  return reach(graph, up, 'dependencies');
}

/** Builds only what matches; dependencies are taken from the mirror. */
export function only(matches: (job: Job) => boolean): Pruner {
  return (job) =>
    matches(job)
      ? { action: 'build', reason: 'chosen by --only' }
      : { action: 'skip', reason: 'not chosen by --only' };
}

/** Leaves out what matches. */
export function skip(matches: (job: Job) => boolean): Pruner {
  return (job) =>
    matches(job) ? { action: 'skip', reason: 'left out by --skip' } : { action: 'build', reason: '' };
}
