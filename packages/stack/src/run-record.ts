import { readFile } from 'node:fs/promises';
import { expectedDurations, externals, type JobGraph, prune, upToDate } from '@stackwright/job-graph';
import { type JobFailure, type JobRecord, type RunRecord, titleOf } from '@stackwright/report';
import type { Caller } from './caller.js';
import { StackError } from './error.js';
import { readHistory } from './history.js';
import { readLog } from './log.js';
import { chooseMirrors, StackMirrors } from './mirrors.js';
import { type BuildRecord, readRecords } from './record.js';
import { secretsOf } from './secrets.js';
import type { Stack } from './stack.js';
import { locate, survey } from './survey.js';
import { stackTrust } from './trust.js';
import type { WorkFolder } from './work.js';

/**
 * What the last run left in `run.json`; undefined where there was none.
 * @throws StackError `work-folder` for a file that is none
 */
export async function readRun(work: WorkFolder): Promise<RunRecord | undefined> {
  const text = await readFile(work.result, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  return text === undefined ? undefined : parseRun(text, work.result);
}

/** @throws StackError `work-folder` */
export function parseRun(text: string, file: string): RunRecord {
  try {
    const run = JSON.parse(text) as RunRecord;
    if (typeof run.stack === 'string' && Array.isArray(run.jobs)) return run;
    throw new Error('it has no jobs');
  } catch (error) {
    throw new StackError('work-folder', `${file} is broken: ${(error as Error).message}.`, {
      hint: 'Delete it.',
      file,
    });
  }
}

/**
 * The record of the last run of a work folder: what `run` left, or, where there were only jobs of a pipeline, what their
 * builds left.
 * @param collected the builds of all jobs of a pipeline, instead of those of the work folder
 */
export async function lastRun(
  caller: Pick<Caller, 'env'>,
  stack: Stack,
  work: WorkFolder,
  collected?: readonly BuildRecord[],
): Promise<RunRecord> {
  const graph = await stack.graph();
  if (collected) {
    const run = withBlocked(graph, ofBuilds(stack.name, graph, collected));
    return withReasons(caller, graph, collected, run);
  }
  const records = (await readRecords(work)).filter(({ hash }) => graph.jobs.has(hash));
  const run = await readRun(work);
  return withReasons(
    caller,
    graph,
    records,
    run ? withBuilds(run, records) : ofBuilds(stack.name, graph, records),
  );
}

/** A run's record with what the graph, the builds' records and the logs of failed builds know. */
export async function withReasons<Run extends RunRecord>(
  { env }: Pick<Caller, 'env'>,
  graph: JobGraph,
  records: readonly BuildRecord[],
  run: Run,
): Promise<Run> {
  const secrets = secretsOf(env);
  const byHash = new Map(records.map((record) => [record.hash, record]));
  const failed = new Set(run.jobs.filter(({ state }) => state === 'failed').map(({ hash }) => hash));
  const jobs = await Promise.all(
    run.jobs.map(async (job): Promise<JobRecord> => {
      const record = byHash.get(job.hash);
      const node = graph.jobs.get(job.hash);
      const log = job.log ?? record?.log;
      return {
        ...job,
        log,
        started: job.started ?? record?.started,
        needs: node?.dependencies,
        root: node?.root,
        phases: job.phases ?? record?.times,
        blockedBy: job.state === 'blocked' ? blockerOf(graph, job.hash, failed) : undefined,
        failure:
          job.failure ??
          (job.state === 'failed' ? await failureOf(log, record?.failure ?? job.reason, secrets) : undefined),
      };
    }),
  );
  return { ...run, jobs, started: run.started ?? records[0]?.started };
}

/** What is to be built and why, before anything is. */
export async function plannedRun(caller: Caller, stack: Stack, work: WorkFolder): Promise<RunRecord> {
  const full = await stack.graph();
  const mirrors = new StackMirrors(caller, await chooseMirrors(caller, stack, {}), stackTrust(caller, stack));
  try {
    const nodes = [...full.jobs.values()].map(({ node }) => node);
    const { graph, decisions } = prune(full, [externals, upToDate(locate(await survey(mirrors, nodes)))]);
    const history = await readHistory(work.history);
    const expected = history.builds.length > 0 ? expectedDurations(graph, history) : undefined;
    const jobs = [...full.jobs.values()].map(({ hash, node, dependencies, root }): JobRecord => {
      const { action, reason } = decisions.get(hash) ?? {};
      const state = action === 'build' ? 'build' : node.external ? 'skip' : 'reused';
      const seconds = state === 'build' ? expected?.get(hash) : undefined;
      return {
        hash,
        name: node.name,
        version: node.version,
        state,
        reason,
        seconds,
        needs: dependencies,
        root,
      };
    });
    return { stack: stack.name, state: 'running', started: new Date().toISOString(), jobs };
  } finally {
    await mirrors.close();
  }
}

/** A run that goes on with what its builds have left so far. */
function withBuilds(run: RunRecord, records: readonly BuildRecord[]): RunRecord {
  if (run.state !== 'running') return run;
  const own = records.filter(({ started }) => run.started === undefined || started >= run.started);
  const byHash = new Map(own.map((record) => [record.hash, record]));
  const jobs = run.jobs.map((job): JobRecord => {
    const record = byHash.get(job.hash);
    if (!record) return job;
    const { outcome, seconds, failure, log, started } = record;
    return {
      ...job,
      state: outcome === 'failed' ? 'failed' : 'done',
      seconds,
      reason: failure,
      log,
      started,
    };
  });
  return { ...run, jobs };
}

/** The builds of a whole pipeline, and the packages that have none because they need one that failed. */
function withBlocked(graph: JobGraph, run: RunRecord): RunRecord {
  const built = new Set(run.jobs.map(({ hash }) => hash));
  const failed = new Set(run.jobs.filter(({ state }) => state === 'failed').map(({ hash }) => hash));
  const blocked = [...graph.jobs.values()].flatMap(({ hash, node }): JobRecord[] => {
    const by = graph.jobs.get(blockerOf(graph, hash, failed) ?? '')?.node;
    if (!by || built.has(hash) || node.external) return [];
    const { name, version } = node;
    return [{ hash, name, version, state: 'blocked', reason: `needs ${titleOf(by)}, which failed` }];
  });
  return { ...run, jobs: [...run.jobs, ...blocked] };
}

/** What builds left by themselves: nothing is known of the other packages of the stack. */
function ofBuilds(stack: string, graph: JobGraph, records: readonly BuildRecord[]): RunRecord {
  const jobs = records.flatMap(({ hash, outcome, seconds, failure, log }): JobRecord[] => {
    const node = graph.jobs.get(hash)?.node;
    const state = outcome === 'failed' ? 'failed' : 'done';
    return node
      ? [{ hash, name: node.name, version: node.version, state, seconds, reason: failure, log }]
      : [];
  });
  return { stack, state: jobs.some(({ state }) => state === 'failed') ? 'failed' : 'done', jobs };
}

/** The failed package that another one needs, the nearest. */
function blockerOf(graph: JobGraph, hash: string, failed: ReadonlySet<string>): string | undefined {
  const seen = new Set([hash]);
  for (const one of seen) {
    if (one !== hash && failed.has(one)) return one;
    for (const need of graph.jobs.get(one)?.dependencies ?? []) seen.add(need);
  }
  return undefined;
}

async function failureOf(
  log: string | undefined,
  otherwise: string | undefined,
  secrets: readonly string[],
): Promise<JobFailure> {
  const { log: read, unread } = await readLog(log, { secrets });
  const { cause } = read;
  const text = otherwise ?? 'The build failed.';
  if (unread) return { text: `${text} ${unread}` };
  const phase = read.phases.at(-1)?.name || undefined;
  if (!cause) return { text, before: read.end.slice(-12), phase };
  const { line, file, fileLine, before, after } = cause;
  return {
    text: cause.text,
    line,
    file,
    fileLine,
    before,
    after,
    phase: phaseAt(read.phases, line) ?? phase,
  };
}

function phaseAt(
  phases: readonly { readonly name: string; readonly from: number; readonly to: number }[],
  line: number,
): string | undefined {
  return phases.find(({ from, to }) => from <= line && line <= to)?.name || undefined;
}
