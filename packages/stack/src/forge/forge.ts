import { readFileSync } from 'node:fs';

/** What a pull request or commit is told of a run. */
export interface CommitStatus {
  readonly state: 'success' | 'failure' | 'pending';
  /** What the status is of: one of this name replaces the one before. */
  readonly context: string;
  readonly description: string;
  /** Where to read more. */
  readonly link?: string;
}

/** A line of a file in the repository that a check run points at. */
export interface Annotation {
  readonly path: string;
  /** From 1. */
  readonly line: number;
  readonly title: string;
  readonly message: string;
}

/** The result of a run as GitHub's check runs show it. */
export interface CheckRun extends CommitStatus {
  /** Markdown. */
  readonly summary: string;
  readonly annotations: readonly Annotation[];
}

/** Where the commit of this job is, and the token that may tell something of it. */
export interface CommitTarget {
  readonly forge: 'GitHub' | 'GitLab';
  /** Address of the repository or project in the forge's API. */
  readonly api: string;
  readonly commit: string;
  /** Number of the pull or merge request. */
  readonly request: number | undefined;
  /** GitLab's pipeline that a status is of. */
  readonly pipeline: string | undefined;
  /** Name of the variable with the token. */
  readonly tokenVariable: 'GITHUB_TOKEN' | 'GITLAB_TOKEN';
}

/**
 * The commit that a CI job runs for, by the variables of GitHub and GitLab: of a pull request its own last commit and not
 * the merge that the job has checked out, since that is where people look.
 * @returns undefined outside of CI, and where there is no token: `GITHUB_TOKEN`, or for GitLab `GITLAB_TOKEN`, since a
 *   job's own token may not do this
 */
export function commitTarget(env: NodeJS.ProcessEnv): CommitTarget | undefined {
  if (env.GITHUB_REPOSITORY && env.GITHUB_SHA && env.GITHUB_TOKEN) {
    const event = pullRequestOf(env);
    return {
      forge: 'GitHub',
      api: `${env.GITHUB_API_URL || 'https://api.github.com'}/repos/${env.GITHUB_REPOSITORY}`,
      commit: event?.head?.sha ?? env.GITHUB_SHA,
      request: event?.number ?? numberOf(/^refs\/pull\/(\d+)\//.exec(env.GITHUB_REF ?? '')?.[1]),
      pipeline: undefined,
      tokenVariable: 'GITHUB_TOKEN',
    };
  }
  if (env.CI_API_V4_URL && env.CI_PROJECT_ID && env.CI_COMMIT_SHA && env.GITLAB_TOKEN) {
    return {
      forge: 'GitLab',
      api: `${env.CI_API_V4_URL}/projects/${encodeURIComponent(env.CI_PROJECT_ID)}`,
      commit: env.CI_MERGE_REQUEST_SOURCE_BRANCH_SHA || env.CI_COMMIT_SHA,
      request: numberOf(env.CI_MERGE_REQUEST_IID),
      pipeline: env.CI_PIPELINE_ID || undefined,
      tokenVariable: 'GITLAB_TOKEN',
    };
  }
  return undefined;
}

interface PullRequest {
  readonly number?: number;
  readonly head?: { readonly sha?: string };
}

/** The pull request of the event that started a workflow of GitHub (`GITHUB_EVENT_PATH`); undefined for other events. */
function pullRequestOf({ GITHUB_EVENT_PATH: file }: NodeJS.ProcessEnv): PullRequest | undefined {
  if (!file) return undefined;
  try {
    return (JSON.parse(readFileSync(file, 'utf8')) as { pull_request?: PullRequest }).pull_request;
  } catch {
    // Outside of GitHub's own machines the file may be elsewhere; the commit of the job is then the best that is known.
    return undefined;
  }
}

function numberOf(text: string | undefined): number | undefined {
  return text && /^\d+$/.test(text) ? Number(text) : undefined;
}
