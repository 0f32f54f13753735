import type { JobGraph } from './graph.js';

/** For each job the longest distance, in edges, from a job without dependencies: its stage. */
export function levels(graph: JobGraph): Map<string, number> {
  const level = new Map<string, number>();
  for (const job of graph.jobs.values()) {
    let own = 0;
    for (const hash of job.dependencies) own = Math.max(own, level.get(hash)! + 1);
    level.set(job.hash, own);
  }
  return level;
}

/** For each job of the full graph how many kept jobs lie below it on the longest path; equals the stage for kept ones. */
export function levelsAmong(full: JobGraph, kept: { has(hash: string): boolean }): Map<string, number> {
  const level = new Map<string, number>();
  for (const job of full.jobs.values()) {
    let own = 0;
    for (const hash of job.dependencies) {
      own = Math.max(own, level.get(hash)! + (kept.has(hash) ? 1 : 0));
    }
    level.set(job.hash, own);
  }
  return level;
}

/** Seconds that a job is expected to take. */
export type Durations = ReadonlyMap<string, number>;

/** For each job the seconds from its start to the end of the longest chain of dependents above it. */
export function tails(graph: JobGraph, durations: Durations): Map<string, number> {
  const tail = new Map<string, number>();
  for (const job of [...graph.jobs.values()].reverse()) {
    let rest = 0;
    for (const hash of job.dependents) rest = Math.max(rest, tail.get(hash)!);
    tail.set(job.hash, rest + (durations.get(job.hash) ?? 0));
  }
  return tail;
}

export interface CriticalPath {
  /** Hashes from the first job to the last. */
  readonly jobs: readonly string[];
  /** No number of runners is faster than this. */
  readonly seconds: number;
}

/** The longest chain by time; of equal ones the one whose names come first. */
export function criticalPath(graph: JobGraph, durations: Durations): CriticalPath {
  const tail = tails(graph, durations);
  const longest = (hashes: Iterable<string>) => {
    let best: string | undefined;
    for (const hash of hashes) if (best === undefined || tail.get(hash)! > tail.get(best)!) best = hash;
    return best;
  };
  const path: string[] = [];
  let at = longest(
    [...graph.jobs.values()].filter((job) => job.dependencies.length === 0).map((j) => j.hash),
  );
  const seconds = at === undefined ? 0 : tail.get(at)!;
  while (at !== undefined) {
    path.push(at);
    at = longest(graph.jobs.get(at)!.dependents);
  }
  return { jobs: path, seconds };
}

/**
 * An order in which the jobs can run one by one, with the longest remaining chain first wherever there is a choice.
 * The graph's own order is topological too, but knows no times.
 */
export function longestPathFirst(graph: JobGraph, durations: Durations): string[] {
  const tail = tails(graph, durations);
  const place = new Map([...graph.jobs.keys()].map((hash, at) => [hash, at]));
  const ready = new Heap<string>((a, b) => tail.get(b)! - tail.get(a)! || place.get(a)! - place.get(b)!);
  const waiting = new Map([...graph.jobs.values()].map((job) => [job.hash, job.dependencies.length]));
  for (const [hash, count] of waiting) if (count === 0) ready.push(hash);
  const order: string[] = [];
  for (let hash = ready.pop(); hash !== undefined; hash = ready.pop()) {
    order.push(hash);
    for (const dependent of graph.jobs.get(hash)!.dependents) {
      const left = waiting.get(dependent)! - 1;
      waiting.set(dependent, left);
      if (left === 0) ready.push(dependent);
    }
  }
  return order;
}

/** A binary heap: `pop` gives the least by `compare`. */
export class Heap<T> {
  readonly #items: T[] = [];
  constructor(private readonly compare: (a: T, b: T) => number) {}

  get size(): number {
    return this.#items.length;
  }

  peek(): T | undefined {
    return this.#items[0];
  }

  push(item: T): void {
    const items = this.#items;
    let at = items.push(item) - 1;
    while (at > 0) {
      const up = (at - 1) >> 1;
      if (this.compare(items[up]!, item) <= 0) break;
      items[at] = items[up]!;
      at = up;
    }
    items[at] = item;
  }

  pop(): T | undefined {
    const items = this.#items;
    const top = items[0];
    const last = items.pop();
    if (items.length === 0 || last === undefined) return top;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= items.length) break;
      if (child + 1 < items.length && this.compare(items[child + 1]!, items[child]!) < 0) child++;
      if (this.compare(last, items[child]!) <= 0) break;
      items[at] = items[child]!;
      at = child;
    }
    items[at] = last;
    return top;
  }
}
