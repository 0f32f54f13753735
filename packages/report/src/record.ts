import type { State } from './page.js';

/**
 * What `run.json` holds: a run of a stack, while it goes on and after it ended. `run.schema.json` in this package is its
 * JSON schema. Readers ignore what they do not know.
 */
export interface RunRecord {
  readonly stack: string;
  readonly state: 'running' | 'done' | 'failed' | 'interrupted';
  /** ISO 8601. */
  readonly started?: string;
  /** How long the run took. */
  readonly seconds?: number;
  readonly mirror?: string;
  readonly jobs: readonly JobRecord[];
  /** The phases of the run itself, in order. */
  readonly phases?: readonly { readonly name: string; readonly seconds: number }[];
  /** Absent where the run did not come to it. */
  readonly image?: {
    readonly path: string;
    readonly tag: string;
    readonly digest: string;
    readonly layers: number;
  };
  readonly pipeline?: string;
  readonly report?: string;
}

/** One package of a run. */
export interface JobRecord {
  readonly hash: string;
  readonly name: string;
  readonly version: string;
  readonly state: State;
  readonly seconds?: number;
  /** When its build started, ISO 8601. */
  readonly started?: string;
  /** Why it was reused, failed or not built. */
  readonly reason?: string;
  /** File with what Spack printed. */
  readonly log?: string;
  /** Hashes of the packages that it needs, and whether the stack names it. */
  readonly needs?: readonly string[];
  readonly root?: boolean;
  /** Hash of the failed package that keeps it from being built. */
  readonly blockedBy?: string;
  /** Why its build failed, as its log says it. */
  readonly failure?: JobFailure;
  /** The command that builds it again, where it failed. */
  readonly repeat?: string;
  readonly phases?: readonly { readonly name: string; readonly seconds: number }[];
}

/** The first error of a failed build that does not follow from another one. */
export interface JobFailure {
  readonly text: string;
  /** Line of the log, from 1. */
  readonly line?: number;
  /** Where in the package's sources. */
  readonly file?: string;
  readonly fileLine?: number;
  readonly before?: readonly string[];
  readonly after?: readonly string[];
  /** The phase of the build. */
  readonly phase?: string;
  /** `fetch`, `compiler`, `time-out`, … */
  readonly kind?: string;
  /** How often it was tried. */
  readonly attempts?: number;
  /** What is wrong, in a line or a few, where that is more than the text. */
  readonly message?: string;
}

/** How many packages of a run are in which state. */
export interface Counts {
  readonly failed: number;
  readonly blocked: number;
  readonly built: number;
  readonly reused: number;
  /** To be built, waiting or running. */
  readonly open: number;
  /** Seconds that builds took together. */
  readonly seconds: number;
}

const open: ReadonlySet<State> = new Set(['build', 'waiting', 'running']);

export function countsOf({ jobs }: Pick<RunRecord, 'jobs'>): Counts {
  const count = (is: (state: State) => boolean) => jobs.filter(({ state }) => is(state)).length;
  return {
    failed: count((state) => state === 'failed'),
    blocked: count((state) => state === 'blocked' || state === 'cancelled'),
    built: count((state) => state === 'done'),
    reused: count((state) => state === 'reused'),
    open: count((state) => open.has(state)),
    seconds: jobs.reduce((sum, { seconds = 0 }) => sum + seconds, 0),
  };
}

/** A package whose own build failed, and how many others are not built for its sake. */
export interface RootFailure {
  readonly jobs: readonly JobRecord[];
  readonly blocks: readonly JobRecord[];
}

/**
 * The failures that everything else follows from, the one that blocks most first. Equal failures of one package for several
 * targets or variants are one.
 */
export function rootFailures({ jobs }: Pick<RunRecord, 'jobs'>): RootFailure[] {
  const groups = new Map<string, JobRecord[]>();
  for (const job of jobs) {
    if (job.state !== 'failed') continue;
    const key = JSON.stringify([job.name, job.failure?.text ?? job.reason, job.failure?.file]);
    groups.set(key, [...(groups.get(key) ?? []), job]);
  }
  const dependents = dependentsOf(jobs);
  const failures = [...groups.values()].map((group) => {
    const reached = new Set<string>(group.map(({ hash }) => hash));
    for (const hash of reached) for (const one of dependents.get(hash) ?? []) reached.add(one);
    return {
      jobs: group,
      blocks: jobs.filter(({ hash, state }) => state === 'blocked' && reached.has(hash)),
    };
  });
  return failures.sort((a, b) => b.blocks.length - a.blocks.length);
}

function dependentsOf(jobs: readonly JobRecord[]): Map<string, string[]> {
  const dependents = new Map<string, string[]>();
  const add = (hash: string, by: string) => dependents.set(hash, [...(dependents.get(hash) ?? []), by]);
  for (const { hash, needs = [], blockedBy } of jobs) {
    for (const need of needs) add(need, hash);
    if (blockedBy !== undefined && !needs.includes(blockedBy)) add(blockedBy, hash);
  }
  return dependents;
}

/** `name@version/hash`, the hash cut to seven characters. */
export function titleOf({ name, version, hash }: Pick<JobRecord, 'name' | 'version' | 'hash'>): string {
  return `${name}@${version}/${hash.slice(0, 7)}`;
}
