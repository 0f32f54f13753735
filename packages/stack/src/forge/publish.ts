import { appendFile, readFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import {
  commentMark,
  commentMarkdown,
  excerptOf,
  type RunRecord,
  rootFailures,
  summaryMarkdown,
  titleOf,
  verdict,
} from '@stackwright/report';
import type { Caller } from '../caller.js';
import { describeError } from '../error.js';
import { secretsOf, withoutSecrets } from '../secrets.js';
import type { Stack } from '../stack.js';
import type { Annotation, CommitTarget } from './forge.js';
import { setCheckRun, setComment, setCommitStatus } from './tell.js';

export interface PublishOptions {
  /** The page that all of it leads to. */
  readonly link?: string;
  /** Show a check run of GitHub with the failures, too. */
  readonly check?: boolean;
  /** Write a comment on the pull request, or the one before anew. */
  readonly comment?: boolean;
}

/**
 * Tells the forge of a run that starts or has ended: the status first, since it decides whether something can be merged.
 * @throws StackError `status-refused` where the status is not taken; check run and comment only warn
 */
export async function publish(
  caller: Caller,
  target: CommitTarget,
  stack: Stack,
  run: RunRecord,
  { link = jobPage(caller.env), check, comment }: PublishOptions,
): Promise<void> {
  const description = verdict(run);
  const state = run.state === 'running' ? 'pending' : run.state === 'done' ? 'success' : 'failure';
  const status = { state, context: `stackwright/${stack.name}`, description, link } as const;
  await setCommitStatus(caller, target, status);
  caller.note(`Status on ${target.commit.slice(0, 10)} at ${target.forge}: ${description}`);
  const markdown = { link, expected: expectedOf(run) };
  if (check) {
    const annotations = await annotationsOf(caller, stack, run);
    await warned(caller, () =>
      setCheckRun(caller, target, { ...status, summary: summaryMarkdown(run, markdown), annotations }),
    );
  }
  if (comment) {
    const text = commentMarkdown(run, markdown);
    await warned(caller, async () => {
      const isThere = await setComment(caller, target, { mark: commentMark(run.stack), text });
      if (!isThere) caller.note('No comment: this job is of no pull request.');
    });
  }
}

/** Adds a run to the summary of a GitHub job. Elsewhere there is none. */
export async function writeJobSummary(
  { env }: Caller,
  run: RunRecord,
  link: string | undefined,
): Promise<void> {
  if (!env.GITHUB_STEP_SUMMARY) return;
  await appendFile(env.GITHUB_STEP_SUMMARY, summaryMarkdown(run, { link }));
}

/** The page of the CI job or pipeline, by the variables of GitHub and GitLab. */
export function jobPage(env: NodeJS.ProcessEnv): string | undefined {
  if (env.CI_PIPELINE_URL) return env.CI_PIPELINE_URL;
  const { GITHUB_SERVER_URL: server, GITHUB_REPOSITORY: repository, GITHUB_RUN_ID: run } = env;
  return server && repository && run ? `${server}/${repository}/actions/runs/${run}` : undefined;
}

/** Failures as remarks on the line of spack.yaml that names the package, or on its first one. */
async function annotationsOf({ env, cwd }: Caller, stack: Stack, run: RunRecord): Promise<Annotation[]> {
  const file = join(stack.folder, 'spack.yaml');
  const path = relative(env.GITHUB_WORKSPACE ?? cwd, file);
  const lines = (await readFile(file, 'utf8').catch(() => '')).split('\n');
  return rootFailures(run).flatMap(({ jobs, blocks }) => {
    const [job] = jobs;
    if (!job || path.startsWith('..')) return [];
    const at = lines.findIndex((line) => line.split(/[^\w-]+/).includes(job.name));
    const blocked = blocks.length > 0 ? `\nBlocks ${blocks.map(({ name }) => name).join(', ')}.` : '';
    const what = job.failure ? excerptOf(job.failure) : (job.reason ?? 'The build failed.');
    return [
      { path, line: Math.max(0, at) + 1, title: `${titleOf(job)} failed`, message: `${what}${blocked}` },
    ];
  });
}

/** Seconds that what is still to be built takes one after the other, where that is known. */
function expectedOf({ state, jobs }: RunRecord): number | undefined {
  if (state !== 'running') return undefined;
  const known = jobs.flatMap((job) =>
    job.state === 'build' && job.seconds !== undefined ? [job.seconds] : [],
  );
  return known.length > 0 ? known.reduce((sum, seconds) => sum + seconds, 0) : undefined;
}

async function warned({ env, note, signal }: Caller, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    signal.throwIfAborted();
    note(`Warning: ${withoutSecrets(describeError(error), secretsOf(env))}`);
  }
}
