import {
  engines,
  externals,
  githubFileBytes,
  githubWorkflows,
  gitlabFileBytes,
  gitlabNeeds,
  JobGraphError,
  type PipelineInput,
  type PipelinePlace,
  prune,
  readSettings,
  stackCi,
  stackPipeline,
} from '@stackwright/job-graph';
import type { Environment } from '@stackwright/spack-env';
import prettyBytes from 'pretty-bytes';
import type { Caller } from '../caller.js';
import { requireDestination } from '../mirrors.js';
import { jobSetup } from '../pipeline.js';
import { hasLock, type Stack } from '../stack.js';
import { type Diagnosis, ok, problem, warning } from './diagnosis.js';

/** How near a stack's largest pipeline, with a job for every package, comes to what GitLab and GitHub take. */
export async function checkForges(
  caller: Caller,
  stack: Stack,
  environment: Environment,
): Promise<readonly Diagnosis[]> {
  const { ci } = environment.config;
  if (ci === undefined || ci === null || !(await hasLock(stack.folder))) return [];
  const lock = await stack.lock();
  const section = stackCi(environment);
  const input = stackPipeline(environment, lock, {
    pruned: prune(await stack.graph(), [externals]),
    settings: readSettings({ ...caller.env, CI_PROJECT_DIR: undefined }, {}, stack.folder),
    mirrors: { destination: requireDestination(environment) },
    env: caller.env,
    time: new Date(0),
    ci: section,
    setup: await jobSetup(caller, lock),
  });
  const place = { stack: stack.folder, from: stack.folder };
  return [checkGitlab(input, place), checkGithub(input, place, section.target === 'github')];
}

function checkGitlab(input: PipelineInput, place: PipelinePlace): Diagnosis {
  const files = engines.gitlab.files(input, place);
  const jobs = [...input.pruned.graph.jobs.values()];
  const needs = Math.max(0, ...jobs.map((job) => job.dependencies.length));
  const text =
    `${sizes(jobs.length, files)} of at most ${prettyBytes(gitlabFileBytes)}; ` +
    `a job needs up to ${needs} of at most ${gitlabNeeds} others${needs > gitlabNeeds ? ', so joints stand between' : ''}`;
  const [first, ...others] = engines.gitlab.warnings(input, place);
  return first ? warning('GitLab', `${text}. ${[first, ...others].join(' ')}`) : ok('GitLab', text);
}

function checkGithub(input: PipelineInput, place: PipelinePlace, target: boolean): Diagnosis {
  try {
    const files = engines.github.files(input, place);
    const text =
      `${sizes(input.pruned.graph.jobs.size, files)} of at most ${prettyBytes(githubFileBytes)}; ` +
      `${files.length - 1} of at most ${githubWorkflows} called workflows`;
    const [first, ...others] = engines.github.warnings(input, place);
    return first ? warning('GitHub', `${text}. ${[first, ...others].join(' ')}`) : ok('GitHub', text);
  } catch (error) {
    if (!(error instanceof JobGraphError) || error.code !== 'too-large') throw error;
    return (target ? problem : warning)('GitHub', error.message, error.hint);
  }
}

function sizes(jobs: number, files: readonly { readonly text: string }[]): string {
  const largest = Math.max(...files.map(({ text }) => Buffer.byteLength(text)));
  const where = files.length === 1 ? 'a file' : `${files.length} files, the largest`;
  return `${jobs} ${jobs === 1 ? 'job' : 'jobs'} at most, in ${where} of ${prettyBytes(largest)}`;
}
