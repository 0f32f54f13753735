import { JobGraphError } from '../error.js';
import type { Job, JobGraph } from '../graph/graph.js';
import { type Durations, Heap, tails } from '../graph/order.js';

/** What became of a job. `blocked`: something it needs failed; `cancelled`: the run was stopped before its end. */
export type Outcome = 'done' | 'failed' | 'blocked' | 'cancelled';

export type PlanEvent =
  | { readonly type: 'start'; readonly job: Job; readonly running: number }
  | { readonly type: 'done'; readonly job: Job; readonly seconds: number }
  | { readonly type: 'failed'; readonly job: Job; readonly seconds: number; readonly error: unknown }
  | { readonly type: 'blocked'; readonly job: Job; readonly by: Job }
  | { readonly type: 'cancelled'; readonly job: Job };

export interface PlanOptions {
  /** How many jobs run at once; 1 or more. */
  readonly concurrency: number;
  /** Stops starting jobs when aborted, hands the abort to running ones, and waits for those. */
  readonly signal?: AbortSignal;
  /** Expected seconds: the longest remaining chain goes first. Without them the longest by number of jobs does. */
  readonly durations?: Durations;
  /** Start nothing more after the first failure; what runs goes on to its end. */
  readonly failFast?: boolean;
  readonly onEvent?: (event: PlanEvent) => void;
}

export interface PlanResult {
  readonly outcomes: ReadonlyMap<string, Outcome>;
  /** What the failed jobs threw. */
  readonly errors: ReadonlyMap<string, unknown>;
  /** Seconds that each job that ran took. */
  readonly seconds: ReadonlyMap<string, number>;
}

/**
 * Runs every job once, as soon as all it depends on is done and a place is free.
 * A job that fails stops only what depends on it. Never rejects because a job did.
 */
export async function runPlan(
  graph: JobGraph,
  run: (job: Job, signal: AbortSignal) => Promise<void>,
  options: PlanOptions,
): Promise<PlanResult> {
  const { durations = new Map([...graph.jobs.keys()].map((hash) => [hash, 1])), onEvent = () => {} } =
    options;
  if (!(options.concurrency >= 1)) {
    throw new JobGraphError('concurrency', 'At least one job must be allowed to run at a time.');
  }
  const signal = options.signal ?? new AbortController().signal;
  const outcomes = new Map<string, Outcome>();
  const errors = new Map<string, unknown>();
  const seconds = new Map<string, number>();
  const tail = tails(graph, durations);
  const place = new Map([...graph.jobs.keys()].map((hash, at) => [hash, at]));
  const ready = new Heap<Job>(
    (a, b) => tail.get(b.hash)! - tail.get(a.hash)! || place.get(a.hash)! - place.get(b.hash)!,
  );
  const waiting = new Map<string, number>();
  const running = new Set<Promise<void>>();

  const release = (job: Job) => {
    for (const hash of job.dependents) {
      const left = waiting.get(hash)! - 1;
      waiting.set(hash, left);
      if (left === 0 && !outcomes.has(hash)) ready.push(graph.jobs.get(hash)!);
    }
  };
  const block = (by: Job) => {
    const pending = [...by.dependents];
    for (let hash = pending.pop(); hash !== undefined; hash = pending.pop()) {
      if (outcomes.has(hash)) continue;
      const job = graph.jobs.get(hash)!;
      outcomes.set(hash, 'blocked');
      onEvent({ type: 'blocked', job, by });
      pending.push(...job.dependents);
    }
  };
  const start = async (job: Job) => {
    const began = performance.now();
    onEvent({ type: 'start', job, running: running.size + 1 });
    const took = () => {
      const time = (performance.now() - began) / 1000;
      seconds.set(job.hash, time);
      return time;
    };
    const outcome = await run(job, signal).then(
      () => ({ ok: true as const }),
      (error: unknown) => ({ ok: false as const, error }),
    );
    if (outcome.ok) {
      outcomes.set(job.hash, 'done');
      onEvent({ type: 'done', job, seconds: took() });
      release(job);
    } else if (signal.aborted) {
      outcomes.set(job.hash, 'cancelled');
      onEvent({ type: 'cancelled', job });
    } else {
      outcomes.set(job.hash, 'failed');
      errors.set(job.hash, outcome.error);
      onEvent({ type: 'failed', job, seconds: took(), error: outcome.error });
      block(job);
    }
  };

  for (const job of graph.jobs.values()) {
    waiting.set(job.hash, job.dependencies.length);
    if (job.dependencies.length === 0) ready.push(job);
  }
  for (;;) {
    const stopped = () => signal.aborted || (options.failFast === true && errors.size > 0);
    while (!stopped() && ready.size > 0 && running.size < options.concurrency) {
      const work: Promise<void> = start(ready.pop()!).finally(() => running.delete(work));
      running.add(work);
    }
    if (running.size === 0) break;
    await Promise.race(running);
  }
  for (const job of graph.jobs.values()) {
    if (outcomes.has(job.hash)) continue;
    outcomes.set(job.hash, 'cancelled');
    onEvent({ type: 'cancelled', job });
  }
  return { outcomes, errors, seconds };
}
