import { writeFile } from 'node:fs/promises';
import type { Pruned } from '@stackwright/job-graph';
import { type JobRecord, type RunRecord, rootFailures, titleOf, verdict } from '@stackwright/report';
import type { Caller } from './caller.js';
import { StackError } from './error.js';
import { lastRun } from './run-record.js';
import type { Stack } from './stack.js';
import { isRunning, openWork, type WorkFolder } from './work.js';

export interface StatusOptions {
  readonly work?: string;
}

export interface RunStatus {
  readonly run: RunRecord;
  /** A few lines for a person. */
  readonly text: string;
  /** The folder in which a run that goes on leaves its files. */
  readonly folder: string;
}

/**
 * How a run stands that goes on, or what the last one came to.
 * @throws StackError `work-folder` where nothing ran yet
 */
export async function runStatus(caller: Caller, stack: Stack, options: StatusOptions): Promise<RunStatus> {
  const work = await openWork(caller, stack, options.work);
  const run = await currentRun(caller, stack, work);
  if (run.jobs.length === 0) {
    throw new StackError('work-folder', `${work.show(work.root)} has no run of ${stack.name}.`, {
      hint: 'stackwright run and stackwright rebuild leave their records there (--work).',
    });
  }
  return { run, text: describeRun(run, work), folder: work.root };
}

/** A killed run cannot write down that it ended: its record says `running` for ever. */
async function currentRun(caller: Caller, stack: Stack, work: WorkFolder): Promise<RunRecord> {
  const run = await lastRun(caller, stack, work);
  if (run.state !== 'running' || (await isRunning(work))) return run;
  // It may have ended, and written that down, since its record was read.
  const ended = await lastRun(caller, stack, work);
  return ended.state === 'running' ? { ...ended, state: 'interrupted' } : ended;
}

/** Writes down that a run starts to build, for those who look before it ends. */
export async function writeStart(
  work: WorkFolder,
  stack: Stack,
  mirror: string,
  { full, decisions }: Pruned,
): Promise<void> {
  const jobs = [...full.jobs.values()].map(({ hash, node }): JobRecord => {
    const { action, reason } = decisions.get(hash) ?? {};
    const state = node.external ? 'skip' : action === 'skip' ? 'reused' : 'waiting';
    return { hash, name: node.name, version: node.version, state, reason };
  });
  const run: RunRecord = {
    stack: stack.name,
    state: 'running',
    started: new Date().toISOString(),
    mirror,
    jobs,
  };
  await writeFile(work.result, `${JSON.stringify(run, null, 2)}\n`);
}

function describeRun(run: RunRecord, work: WorkFolder): string {
  const failures = rootFailures(run).map(({ jobs, blocks }) => {
    const [job] = jobs;
    const blocked = blocks.length > 0 ? `, blocks ${blocks.length}` : '';
    const log = job?.log ? `\n    log: ${work.show(job.log)}` : '';
    return `  ✗ ${jobs.map(titleOf).join(', ')}${blocked}: ${job?.failure?.text.trim() ?? job?.reason ?? ''}${log}`;
  });
  return [`${run.stack}: ${run.state}, ${verdict(run)}`, ...failures].join('\n');
}
