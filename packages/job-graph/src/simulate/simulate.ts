import { JobGraphError } from '../error.js';
import type { JobGraph } from '../graph/graph.js';
import { criticalPath, type Durations, Heap, levels, tails } from '../graph/order.js';

/**
 * Which ready job a free runner takes. `stages`: in order, and none of a later stage before all of an earlier one are
 * done, as without `needs`; `arrival`: the one that has been ready longest; `longest`: the one with the longest chain
 * above it.
 */
export type Strategy = 'stages' | 'arrival' | 'longest';

export interface SimulationOptions {
  readonly durations: Durations;
  readonly runners: number;
  readonly strategy: Strategy;
  /** Seconds that a runner takes to start with each attempt of a job: boot, pull, check out. */
  readonly startup?: number;
  /** Chance that an attempt fails, 0 to 1. */
  readonly failureRate?: number;
  /** How often a failed job is tried again. */
  readonly retries?: number;
  /** The same seed gives the same failures. */
  readonly seed?: number;
}

export interface Simulation {
  /** Seconds from the first start to the last end. */
  readonly makespan: number;
  /** What no schedule of what ran can be shorter than: the longest chain, or all work spread evenly. */
  readonly bound: number;
  /** Runner seconds that were used. */
  readonly work: number;
  /** Part of the time that runners had something to do, 0 to 1. */
  readonly utilisation: number;
  readonly done: number;
  readonly failed: number;
  /** Jobs that were not run, because something that they need failed. */
  readonly blocked: number;
  /** When each job that ran started and ended, and on which runner. */
  readonly runs: ReadonlyMap<string, Run>;
}

export interface Run {
  readonly start: number;
  readonly end: number;
  /** From 0. */
  readonly runner: number;
  readonly ok: boolean;
}

/**
 * Plays a pipeline through, event by event.
 * @throws JobGraphError (`input`) for less than one runner, or a rate that is none
 */
export function simulate(graph: JobGraph, options: SimulationOptions): Simulation {
  const { runners, strategy, failureRate = 0 } = options;
  if (!(Number.isInteger(runners) && runners >= 1)) {
    throw new JobGraphError('runners', `${runners} is no number of runners: give 1 or more.`);
  }
  if (!(failureRate >= 0 && failureRate <= 1)) {
    throw new JobGraphError('failure-rate', `${failureRate} is no failure rate: give 0 to 1.`);
  }
  const takes = attemptsOf(graph, options);
  const compare = priority(graph, options);
  const ready = new Heap<Ready>(compare);
  const running = new Heap<Running>((a, b) => a.end - b.end || a.runner - b.runner);
  const free = new Heap<number>((a, b) => a - b);
  for (let runner = 0; runner < runners; runner++) free.push(runner);
  const waiting = new Map<string, number>();
  const runs = new Map<string, Run>();
  const stage = strategy === 'stages' ? levels(graph) : undefined;
  const left = new Map<number, number>();
  let open = 0;
  let arrivals = 0;
  const arrive = (hash: string) => ready.push({ hash, arrival: arrivals++ });

  for (const job of graph.jobs.values()) {
    waiting.set(job.hash, job.dependencies.length);
    if (stage) {
      const own = stage.get(job.hash)!;
      left.set(own, (left.get(own) ?? 0) + 1);
      if (own === 0) arrive(job.hash);
    } else if (job.dependencies.length === 0) arrive(job.hash);
  }
  const finish = ({ hash, ok }: Running) => {
    if (!stage) {
      if (!ok) return;
      for (const dependent of graph.jobs.get(hash)!.dependents) {
        const more = waiting.get(dependent)! - 1;
        waiting.set(dependent, more);
        if (more === 0) arrive(dependent);
      }
      return;
    }
    // A stage with a failed job never counts as done, so nothing after it runs.
    if (ok) left.set(open, left.get(open)! - 1);
    if (left.get(open) !== 0) return;
    open++;
    for (const [other, level] of stage) if (level === open) arrive(other);
  };

  let now = 0;
  for (;;) {
    while (ready.size > 0 && free.size > 0) {
      const { hash } = ready.pop()!;
      const runner = free.pop()!;
      const { seconds, ok } = takes.get(hash)!;
      runs.set(hash, { start: now, end: now + seconds, runner, ok });
      running.push({ hash, runner, end: now + seconds, ok });
    }
    const next = running.pop();
    if (!next) break;
    now = next.end;
    free.push(next.runner);
    finish(next);
  }
  return summarize(graph, runners, now, runs);
}

interface Ready {
  readonly hash: string;
  readonly arrival: number;
}

interface Running {
  readonly hash: string;
  readonly runner: number;
  readonly end: number;
  readonly ok: boolean;
}

/** How long each job holds its runner, all attempts together, and whether the last one succeeds. */
function attemptsOf(graph: JobGraph, options: SimulationOptions) {
  const { durations, startup = 0, failureRate = 0, retries = 0, seed = 1 } = options;
  const result = new Map<string, { readonly seconds: number; readonly ok: boolean }>();
  for (const hash of graph.jobs.keys()) {
    const full = durations.get(hash) ?? 0;
    // From the seed and the job alone, so that strategies and numbers of runners meet the same failures.
    const random = generator(seed, hash);
    let seconds = 0;
    let ok = false;
    for (let attempt = 0; attempt <= retries && !ok; attempt++) {
      ok = random() >= failureRate;
      seconds += startup + (ok ? full : full * random());
    }
    result.set(hash, { seconds, ok });
  }
  return result;
}

/** Numbers from 0 up to 1 (xorshift32, started from a hash of seed and text). */
function generator(seed: number, text: string): () => number {
  let state = (seed * 2654435761) >>> 0 || 1;
  for (let at = 0; at < text.length; at++)
    state = Math.imul(state ^ text.charCodeAt(at), 16777619) >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state / 2 ** 32;
  };
}

function priority(graph: JobGraph, options: SimulationOptions): (a: Ready, b: Ready) => number {
  if (options.strategy !== 'longest') return (a, b) => a.arrival - b.arrival;
  const { durations, startup = 0 } = options;
  const whole = new Map([...graph.jobs.keys()].map((hash) => [hash, startup + (durations.get(hash) ?? 0)]));
  const tail = tails(graph, whole);
  return (a, b) => tail.get(b.hash)! - tail.get(a.hash)! || a.arrival - b.arrival;
}

function summarize(
  graph: JobGraph,
  runners: number,
  makespan: number,
  runs: ReadonlyMap<string, Run>,
): Simulation {
  const real = new Map([...runs].map(([hash, { start, end }]) => [hash, end - start]));
  const work = [...real.values()].reduce((sum, seconds) => sum + seconds, 0);
  const done = [...runs.values()].filter((run) => run.ok).length;
  return {
    makespan,
    bound: Math.max(criticalPath(graph, real).seconds, work / runners),
    work,
    utilisation: makespan > 0 ? work / (makespan * runners) : 0,
    done,
    failed: runs.size - done,
    blocked: graph.jobs.size - runs.size,
    runs,
  };
}

/** What a number of runners brings. Money is in the unit of the price. */
export interface Forecast {
  readonly runners: number;
  readonly makespan: Readonly<Record<Strategy, number>>;
  readonly bound: number;
  /** Of `longest`. */
  readonly utilisation: number;
  /** For runners that are kept for the whole of `longest`. */
  readonly cost: number;
  /** For runners that are paid only while they work. */
  readonly costOnDemand: number;
  readonly failed: number;
  readonly blocked: number;
}

export interface ForecastOptions extends Omit<SimulationOptions, 'runners' | 'strategy'> {
  readonly runners: readonly number[];
  /** Of one runner for one hour. */
  readonly price?: number;
}

/** Simulates each number of runners with each strategy. */
export function forecast(graph: JobGraph, options: ForecastOptions): Forecast[] {
  const { price = 0 } = options;
  return options.runners.map((runners) => {
    const play = (strategy: Strategy) => simulate(graph, { ...options, runners, strategy });
    const longest = play('longest');
    return {
      runners,
      makespan: {
        stages: play('stages').makespan,
        arrival: play('arrival').makespan,
        longest: longest.makespan,
      },
      bound: longest.bound,
      utilisation: longest.utilisation,
      cost: (price * runners * longest.makespan) / 3600,
      costOnDemand: (price * longest.work) / 3600,
      failed: longest.failed,
      blocked: longest.blocked,
    };
  });
}

/**
 * The number of runners that is worth it: the least after which the next larger one in the list saves less than
 * a tenth of the time.
 */
export function worthwhile(forecasts: readonly Forecast[]): Forecast | undefined {
  const sorted = [...forecasts].sort((a, b) => a.runners - b.runners);
  return sorted.find((one, at) => {
    const more = sorted[at + 1];
    return !more || more.makespan.longest > 0.9 * one.makespan.longest;
  });
}
