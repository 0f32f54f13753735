import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { describe } from '@stackwright/buildcache';
import { type CdashClient, CdashError, cdashFiles } from '@stackwright/cdash';
import type { JobGraph } from '@stackwright/job-graph';
import { junitXml, type RunRecord } from '@stackwright/report';
import type { Caller } from './caller.js';
import {
  type CdashOptions,
  type CdashTarget,
  cdashClient,
  cdashTarget,
  packageReport,
  type ReportedRecord,
} from './cdash.js';
import { submitOnce } from './cdash-sent.js';
import { collectRecords } from './collect.js';
import { cdashSection } from './configuration.js';
import { describeError, StackError } from './error.js';
import { commitTarget } from './forge/forge.js';
import { jobPage, type PublishOptions, publish, writeJobSummary } from './forge/publish.js';
import { recordPage } from './page.js';
import { type BuildRecord, readRecords } from './record.js';
import { lastRun, plannedRun } from './run-record.js';
import { secretsOf, withoutSecrets } from './secrets.js';
import type { Stack } from './stack.js';
import { openWork, type WorkFolder } from './work.js';

export interface ReportOptions extends CdashOptions, PublishOptions {
  readonly work?: string;
  /** A folder to write CDash's files into instead of sending them. */
  readonly write?: string;
  /** Send to CDash what it does not have yet, only. */
  readonly resend?: boolean;
  /** Fail when CDash cannot be reached or does not take a build. */
  readonly strict?: boolean;
  /** Put a status on the commit. */
  readonly status: boolean;
  /** A file for the result as JUnit's XML. */
  readonly junit?: string;
  /** A file for the page of the run. */
  readonly page?: string;
  /** Folders with the artifacts of a pipeline's jobs, which are reported together instead of the work folder. */
  readonly collect?: readonly string[];
}

/** One build that was reported. */
export interface ReportedBuild {
  readonly hash: string;
  readonly name: string;
  readonly version: string;
  readonly outcome: ReportedRecord['outcome'];
  readonly seconds: number;
  /** The build's page at CDash. */
  readonly link?: string;
}

/**
 * Sends the builds of the last run to CDash and puts a status on the commit.
 * @param onResult called with a line for each build as soon as it is reported
 */
export async function reportStack(
  caller: Caller,
  stack: Stack,
  options: ReportOptions,
  onResult: (line: string) => void,
): Promise<ReportedBuild[]> {
  const work = await openWork(caller, stack, options.work);
  const graph = await stack.graph();
  const collected = options.collect?.length ? await collectRecords(caller, options.collect) : undefined;
  const records = (collected ?? (await readRecords(work))).filter(({ hash }) => graph.jobs.has(hash));
  // A run leaves its page also when all was up to date; the jobs of a pipeline then leave nothing.
  if (!collected && records.length === 0 && !existsSync(work.report)) {
    throw new StackError('work-folder', `${work.show(work.root)} has no builds to report.`, {
      hint: 'stackwright run and stackwright rebuild leave them there (--work).',
    });
  }
  const target = cdashTarget(caller, cdashSection(await stack.environment()), options);
  const commit = options.status ? commitTarget(caller.env) : undefined;
  if (!target && !commit && !options.junit && !options.page && !caller.env.GITHUB_STEP_SUMMARY) {
    throw new StackError('nobody-to-report-to', 'There is nobody to report to.', {
      hint: 'Name a CDash (section cdash with url, project and build-group in spack.yaml, or --cdash, --project and\n--group), or run in a job of GitHub (GITHUB_TOKEN) or GitLab (GITLAB_TOKEN).',
    });
  }
  const last = await lastRun(caller, stack, work, collected);
  // Nobody reports a run that goes on: it was killed.
  const run: RunRecord = last.state === 'running' ? { ...last, state: 'interrupted' } : last;
  const told: ReportedRecord[] = [...records, ...notBuilt(run, graph, records)];
  const links = new Map<string, string>();
  const failure =
    target && told.length > 0
      ? await toCdash(caller, { work, target, graph, records: told, links }, options, onResult).catch(
          (error: unknown) => asError(caller, error),
        )
      : undefined;
  const { link = jobPage(caller.env) } = options;
  await writeRun(caller, run, graph, options);
  await writeJobSummary(caller, run, link);
  if (commit) await publish(caller, commit, stack, run, { ...options, link });
  if (failure && (options.strict || !mayPass(failure))) throw failure;
  if (failure) caller.note(`Warning: ${withoutSecrets(describeError(failure), secretsOf(caller.env))}`);
  return told.map(({ hash, outcome, seconds }) => {
    const { name, version } = graph.jobs.get(hash)!.node;
    return { hash, name, version, outcome, seconds, link: links.get(hash) };
  });
}

/**
 * Tells the forge that a run of a stack starts: what will be built and why.
 * @throws StackError `nobody-to-report-to` outside of CI
 */
export async function reportStart(
  caller: Caller,
  stack: Stack,
  options: PublishOptions & { readonly work?: string },
): Promise<void> {
  const target = commitTarget(caller.env);
  if (!target) {
    throw new StackError('nobody-to-report-to', 'There is no commit to put a status on.', {
      hint: 'Run in a job of GitHub (GITHUB_TOKEN) or GitLab (GITLAB_TOKEN).',
    });
  }
  const work = await openWork(caller, stack, options.work);
  await publish(caller, target, stack, await plannedRun(caller, stack, work), options);
}

/** Writes the files that a user asks for. */
async function writeRun(
  { cwd }: Caller,
  run: RunRecord,
  graph: JobGraph,
  { junit, page }: ReportOptions,
): Promise<void> {
  if (page) await writeFile(resolve(cwd, page), recordPage(run, graph));
  if (junit) await writeFile(resolve(cwd, junit), junitXml(run));
}

/**
 * Reports one build to the stack's CDash, where it names one. That CDash is away does not make the job fail, since all
 * that depend on it would be cancelled: what is not reported stays in the work folder for `reportStack`.
 */
export async function reportBuild(
  caller: Caller,
  stack: Stack,
  work: WorkFolder,
  hash: string,
): Promise<void> {
  const record = (await readRecords(work)).find((one) => one.hash === hash);
  if (!record || caller.signal.aborted) return;
  try {
    const target = cdashTarget(caller, cdashSection(await stack.environment()), {});
    if (!target) return;
    const client = cdashClient(caller, target);
    await makeGroup(caller, client, target);
    const report = await packageReport(
      caller,
      target,
      await stack.graph(),
      work,
      record,
      new Date(record.started),
    );
    // A job that was started again does not know what the one before has sent.
    const { link, warnings } = await submitOnce(work, client, report, { again: true, signal: caller.signal });
    caller.note(`CDash: ${link}`);
    for (const warning of warnings) caller.note(`Warning: CDash: ${warning}`);
  } catch (error) {
    const text = withoutSecrets(describeError(error), secretsOf(caller.env));
    caller.note(
      `Warning: not reported to CDash. ${text}\nTo report it later: stackwright report STACK --resend --work ${work.show(work.root)}`,
    );
  }
}

interface Sending {
  readonly work: WorkFolder;
  readonly target: CdashTarget;
  readonly graph: JobGraph;
  readonly records: readonly ReportedRecord[];
  /** Gets the page of each build that was sent. */
  readonly links: Map<string, string>;
}

/** Sends, or writes, each build. Goes on after a failure. */
async function toCdash(
  caller: Caller,
  { work, target, graph, records, links }: Sending,
  options: ReportOptions,
  onResult: (line: string) => void,
): Promise<undefined> {
  const { signal, cwd, note } = caller;
  const client = cdashClient(caller, target);
  const first = new Date(records[0]?.started ?? 0);
  const failed: string[] = [];
  if (!options.write) await makeGroup(caller, client, target);
  for (const record of records) {
    const node = graph.jobs.get(record.hash)?.node;
    if (!node) continue;
    const title = describe(node);
    const full = await packageReport(caller, target, graph, work, record, first);
    if (options.write) {
      const folder = join(resolve(cwd, options.write), `${node.name}-${record.hash}`);
      await mkdir(folder, { recursive: true });
      for (const { kind, text } of cdashFiles(full)) await writeFile(join(folder, `${kind}.xml`), text);
      onResult(folder);
      continue;
    }
    try {
      const { link, warnings } = await submitOnce(work, client, full, { resend: options.resend, signal });
      links.set(record.hash, link);
      onResult(`${title} ${record.outcome}: ${link}`);
      for (const warning of warnings) note(`Warning: ${title}: ${warning}`);
    } catch (error) {
      signal.throwIfAborted();
      failed.push(`${title}: ${describeError(error)}`);
      // The next one would be told the same.
      if (error instanceof CdashError && ['denied', 'no-project', 'unavailable'].includes(error.code))
        throw error;
    }
  }
  if (failed.length > 0) {
    throw new StackError(
      'not-reported',
      `${failed.length} of ${records.length} builds were not reported:\n${failed.join('\n')}`,
      { hint: 'To send what is missing: stackwright report STACK --resend' },
    );
  }
}

/** What the run did not build although it was to be built. */
function notBuilt(run: RunRecord, graph: JobGraph, records: readonly BuildRecord[]): ReportedRecord[] {
  const started = records.at(-1)?.started ?? run.started ?? new Date().toISOString();
  return run.jobs.flatMap(({ hash, state, reason }): ReportedRecord[] => {
    if (!graph.jobs.has(hash) || (state !== 'blocked' && state !== 'cancelled')) return [];
    const failure = reason ?? 'The run was stopped before it was built.';
    return [{ hash, started, seconds: 0, failure, outcome: state === 'blocked' ? 'blocked' : 'skipped' }];
  });
}

/** An error that may pass: CDash is away, or trips over a build. What a user can mend is not of these. */
function mayPass(error: Error): boolean {
  if (error instanceof CdashError) return ['unavailable', 'unknown-outcome', 'refused'].includes(error.code);
  return error instanceof StackError && error.code === 'not-reported';
}

function asError({ signal }: Caller, error: unknown): Error {
  signal.throwIfAborted();
  if (error instanceof Error) return error;
  throw error;
}

/** Builds of a group that CDash lacks go to Experimental; who may not create it is told so. */
async function makeGroup({ note, signal }: Caller, client: CdashClient, target: CdashTarget): Promise<void> {
  try {
    await client.createGroup(target.project, target.group, signal);
  } catch (error) {
    if (!(error instanceof CdashError) || error.code !== 'denied') throw error;
    note(`Warning: ${error.message}\nUnless it is there, builds go to the group Experimental.`);
  }
}
