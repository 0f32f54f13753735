import type { ConcreteNode, Lock } from '@stackwright/spack-env';
import { JobGraphError } from '../error.js';

/** One package of the environment, and so one possible job. */
export interface Job {
  /** The dag hash; unique in the graph. */
  readonly hash: string;
  readonly node: ConcreteNode;
  /** Whether the user asked for it by name. */
  readonly root: boolean;
  /** Hashes of direct dependencies of every edge type, by name, then hash. */
  readonly dependencies: readonly string[];
  /** Hashes of direct dependents, by name, then hash. */
  readonly dependents: readonly string[];
}

/** Jobs by hash, each after all that it depends on; no cycles, and every edge ends inside the graph. */
export interface JobGraph {
  readonly jobs: ReadonlyMap<string, Job>;
}

/**
 * The graph of everything that a lock's roots reach, over edges of every type (build, link, run, test).
 * What only hangs on a spliced node's build spec is not reached, as in Spack.
 * @param options.roots only these roots (hashes); all when left out
 * @throws JobGraphError (`input`) for a cycle or an unknown root
 */
export function graphOf(lock: Lock, options: { roots?: Iterable<string> } = {}): JobGraph {
  const roots = new Set(options.roots ?? lock.roots.map((root) => root.hash));
  const reached = new Map<string, ConcreteNode>();
  const pending = [...roots];
  for (let hash = pending.pop(); hash !== undefined; hash = pending.pop()) {
    if (reached.has(hash)) continue;
    const node = lock.nodes.get(hash);
    if (!node) throw new JobGraphError('unknown-root', `The lock holds no spec /${hash}.`);
    reached.set(hash, node);
    for (const edge of node.dependencies) pending.push(edge.hash);
  }
  const asked = new Set(lock.roots.map((root) => root.hash));
  return assemble(
    [...reached.values()].map((node) => ({
      node,
      root: asked.has(node.hash),
      dependencies: node.dependencies.map((edge) => edge.hash),
    })),
  );
}

/** A job before its dependents and its place in the order are known. */
export interface LooseJob {
  readonly node: ConcreteNode;
  readonly root: boolean;
  readonly dependencies: Iterable<string>;
}

/**
 * Builds a graph from jobs that name their dependencies: duplicate edges fall together, dependents are found,
 * everything is put into one order that does not depend on the order of the input.
 * @throws JobGraphError (`input`) for a cycle, naming the specs on it, or for an edge that ends nowhere
 */
export function assemble(loose: readonly LooseJob[]): JobGraph {
  const sorted = [...loose].sort((a, b) => byName(a.node, b.node));
  const rank = new Map(sorted.map((job, index) => [job.node.hash, index]));
  const below = sorted.map((job) => {
    const ranks = new Set<number>();
    for (const hash of job.dependencies) {
      const at = rank.get(hash);
      if (at === undefined) {
        throw new JobGraphError('missing-node', `${job.node.name} depends on /${hash}, which is not there.`);
      }
      ranks.add(at);
    }
    return [...ranks].sort((a, b) => a - b);
  });
  const above: number[][] = sorted.map(() => []);
  for (const [at, dependencies] of below.entries()) for (const to of dependencies) above[to]!.push(at);

  const hashes = sorted.map((job) => job.node.hash);
  const jobs = new Map<string, Job>();
  const waiting = below.map((dependencies) => dependencies.length);
  const ready: number[] = [];
  for (const [at, count] of waiting.entries()) if (count === 0) ready.push(at);
  for (let next = 0; next < ready.length; next++) {
    const at = ready[next]!;
    const { node, root } = sorted[at]!;
    jobs.set(node.hash, {
      hash: node.hash,
      node,
      root,
      dependencies: below[at]!.map((to) => hashes[to]!),
      dependents: above[at]!.map((to) => hashes[to]!),
    });
    for (const to of above[at]!) if (--waiting[to]! === 0) ready.push(to);
  }
  if (jobs.size < sorted.length) throw cycle(sorted, below, new Set(jobs.keys()));
  return { jobs };
}

function cycle(
  sorted: readonly LooseJob[],
  below: readonly number[][],
  done: ReadonlySet<string>,
): JobGraphError {
  // Every job that is left waits for another that is left, so following those must come back.
  const path: number[] = [];
  let at = sorted.findIndex((job) => !done.has(job.node.hash));
  while (!path.includes(at)) {
    path.push(at);
    at = below[at]!.find((to) => !done.has(sorted[to]!.node.hash))!;
  }
  const names = [...path.slice(path.indexOf(at)), at].map((i) => sorted[i]!.node.name);
  return new JobGraphError('cycle', `The specs depend on each other: ${names.join(' -> ')}.`);
}

/** Orders specs by name, then by hash. */
export function byName(
  a: { readonly name: string; readonly hash: string },
  b: { readonly name: string; readonly hash: string },
): number {
  return a.name < b.name ? -1 : a.name > b.name ? 1 : a.hash < b.hash ? -1 : a.hash > b.hash ? 1 : 0;
}

/** `name@version/1234567`: how a person tells specs apart. */
export function shortName(node: ConcreteNode): string {
  return `${node.name}@${node.version}/${node.hash.slice(0, 7)}`;
}

/** All that a set of jobs reaches, itself included. */
export function reach(
  graph: JobGraph,
  from: Iterable<string>,
  direction: 'dependencies' | 'dependents',
): Set<string> {
  const seen = new Set<string>();
  const pending = [...from];
  for (let hash = pending.pop(); hash !== undefined; hash = pending.pop()) {
    const job = graph.jobs.get(hash);
    if (!job || seen.has(hash)) continue;
    seen.add(hash);
    for (const next of job[direction]) pending.push(next);
  }
  return seen;
}
