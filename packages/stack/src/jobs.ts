import {
  externals,
  type Job,
  only,
  type Pruned,
  type Pruner,
  prune,
  skip,
  upToDate,
} from '@stackwright/job-graph';
import { SpackEnvError } from '@stackwright/spack-env';
import type { Caller } from './caller.js';
import { StackError } from './error.js';
import { type MirrorPlace, mirrorUrl, StackMirrors } from './mirrors.js';
import type { Stack } from './stack.js';
import { tellStale } from './stale/staleness.js';
import { locate, survey } from './survey.js';
import { stackTrust } from './trust.js';

export interface JobsOptions {
  /** Patterns of `namedBy`: only these jobs, and not those. */
  readonly only?: readonly string[];
  readonly skip?: readonly string[];
  readonly pruneExternals?: boolean;
  /** URLs or paths of mirrors whose packages need no job. */
  readonly mirrors?: readonly string[];
  /** Believe the indexes of the mirrors, and look at nothing else. */
  readonly indexOnly?: boolean;
  /** Files of public keys whose signatures count besides those that the stack names. */
  readonly trust?: readonly string[];
  readonly unsigned?: boolean;
}

/** The jobs of a stack: which have to be done, and why. */
export async function jobsOf(caller: Caller, stack: Stack, options: JobsOptions): Promise<Pruned> {
  const full = await stack.graph();
  await tellStale(caller, stack).catch((error: unknown) => {
    // The jobs are those of the lock, whatever the manifest is like.
    if (!(error instanceof SpackEnvError)) throw error;
    caller.note(`Warning: The lock is not compared with the manifest, which has errors:\n${error.message}`);
  });
  const jobs = [...full.jobs.values()];
  const pruners: Pruner[] = [];
  if (options.pruneExternals) pruners.push(externals);
  if (options.mirrors?.length) {
    const places = options.mirrors.map((text): MirrorPlace => {
      const url = mirrorUrl(text, caller.cwd);
      return { name: url, fetch: url, push: url, unsigned: options.unsigned ?? false };
    });
    const trust = stackTrust(caller, stack, options);
    const mirrors = new StackMirrors(caller, { given: true, target: undefined, places }, trust);
    try {
      const nodes = jobs.map((job) => job.node);
      const found = await survey(mirrors, nodes, options.indexOnly ? { by: 'index' } : {});
      pruners.push(upToDate(locate(found)));
    } finally {
      await mirrors.close();
    }
  }
  if (options.only?.length) pruners.push(only(namedBy(options.only, jobs)));
  if (options.skip?.length) pruners.push(skip(namedBy(options.skip, jobs)));
  return prune(full, pruners);
}

/**
 * Whether a job is meant by one of the patterns `NAME`, `NAME@VERSION` or `/HASH` (its start).
 * @throws StackError for a pattern that no job matches
 */
export function namedBy(patterns: readonly string[], jobs: readonly Job[]): (job: Job) => boolean {
  const tests = patterns.map((pattern) => (job: Job) => {
    if (pattern.startsWith('/')) return job.hash.startsWith(pattern.slice(1));
    return pattern === job.node.name || pattern === `${job.node.name}@${job.node.version}`;
  });
  for (const [at, test] of tests.entries()) {
    if (jobs.some(test)) continue;
    throw new StackError('no-such-package', `${patterns[at]}: no spec of the lock matches.`, {
      hint: 'Give a NAME, NAME@VERSION or /HASH.',
    });
  }
  return (job) => tests.some((test) => test(job));
}
