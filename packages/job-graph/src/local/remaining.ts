import type { JobGraph } from '../graph/graph.js';
import { type Durations, tails } from '../graph/order.js';

export interface PlanState {
  /** Expected seconds of each job. */
  readonly durations: Durations;
  /** Seconds that each job took that is done or failed; 0 for what will not be run. */
  readonly ended: ReadonlyMap<string, number>;
  /** Seconds for which each running job has run. */
  readonly running: ReadonlyMap<string, number>;
  /** How many jobs run at once. */
  readonly concurrency: number;
}

/**
 * Seconds that a plan is expected to take from now on: the longest remaining chain, or all remaining work spread evenly,
 * whichever is longer. Where jobs took more or less than was expected, the rest is expected to do so too.
 */
export function remainingTime(graph: JobGraph, state: PlanState): number {
  const { durations, ended, running, concurrency } = state;
  const scale = paceOf(durations, ended);
  const rest = new Map(
    [...graph.jobs.keys()].map((hash) => {
      const expected = (durations.get(hash) ?? 0) * scale;
      return [hash, ended.has(hash) ? 0 : Math.max(0, expected - (running.get(hash) ?? 0))];
    }),
  );
  const work = [...rest.values()].reduce((sum, seconds) => sum + seconds, 0);
  const chain = Math.max(0, ...tails(graph, rest).values());
  return Math.max(chain, work / concurrency);
}

function paceOf(durations: Durations, ended: ReadonlyMap<string, number>): number {
  let expected = 0;
  let taken = 0;
  for (const [hash, seconds] of ended) {
    if (seconds === 0) continue;
    expected += durations.get(hash) ?? 0;
    taken += seconds;
  }
  return expected > 0 ? taken / expected : 1;
}
