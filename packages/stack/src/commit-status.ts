import { HttpClient, HttpError } from '@stackwright/http';
import type { Caller } from './caller.js';
import { credential } from './credentials.js';
import { StackError } from './error.js';

/** A status on a commit, as GitHub and GitLab show it. */
export interface CommitStatus {
  readonly state: 'success' | 'failure' | 'pending';
  /** What the status is of: one of this name replaces the one before. */
  readonly context: string;
  readonly description: string;
  /** Where to read more. */
  readonly link?: string;
}

/** Where the commit of this job is, and the token that may put a status on it. */
export interface CommitTarget {
  readonly forge: 'GitHub' | 'GitLab';
  readonly url: string;
  readonly commit: string;
  /** Name of the variable with the token. */
  readonly tokenVariable: 'GITHUB_TOKEN' | 'GITLAB_TOKEN';
}

/**
 * The commit that a CI job runs for, by the variables of GitHub and GitLab.
 * @returns undefined outside of CI, and where there is no token: `GITHUB_TOKEN`, or for GitLab `GITLAB_TOKEN`, since a
 *   job's own token may not do this
 */
export function commitTarget(env: NodeJS.ProcessEnv): CommitTarget | undefined {
  if (env.GITHUB_REPOSITORY && env.GITHUB_SHA && env.GITHUB_TOKEN) {
    const api = env.GITHUB_API_URL || 'https://api.github.com';
    return {
      forge: 'GitHub',
      url: `${api}/repos/${env.GITHUB_REPOSITORY}/statuses/${env.GITHUB_SHA}`,
      commit: env.GITHUB_SHA,
      tokenVariable: 'GITHUB_TOKEN',
    };
  }
  if (env.CI_API_V4_URL && env.CI_PROJECT_ID && env.CI_COMMIT_SHA && env.GITLAB_TOKEN) {
    return {
      forge: 'GitLab',
      url: `${env.CI_API_V4_URL}/projects/${env.CI_PROJECT_ID}/statuses/${env.CI_COMMIT_SHA}`,
      commit: env.CI_COMMIT_SHA,
      tokenVariable: 'GITLAB_TOKEN',
    };
  }
  return undefined;
}

/** Puts a status on a commit. @throws StackError when the forge does not take it */
export async function setCommitStatus(
  { env, signal }: Pick<Caller, 'env' | 'signal'>,
  target: CommitTarget,
  { state, context, description, link }: CommitStatus,
): Promise<void> {
  const token = credential(env, target.tokenVariable, {
    url: new URL(target.url),
    as: 'header',
    namedBy: 'user',
  });
  const [headers, body] =
    target.forge === 'GitHub'
      ? [
          { authorization: `Bearer ${token}`, accept: 'application/vnd.github+json' },
          { state, context, description: cut(description, 140), target_url: link },
        ]
      : [
          { 'private-token': token },
          {
            state: state === 'failure' ? 'failed' : state,
            name: context,
            description: cut(description, 255),
            target_url: link,
          },
        ];
  const client = new HttpClient({ env, headers: { 'user-agent': 'stackwright' } });
  try {
    await client.request(target.url, {
      method: 'POST',
      headers,
      json: body,
      // Whoever sets a status twice has set it once.
      repeatable: true,
      signal,
    });
  } catch (error) {
    if (!(error instanceof HttpError)) throw error;
    const { status, said } = error.details;
    // GitLab refuses a status that says what the one before said.
    if (target.forge === 'GitLab' && status === 400 && /Cannot transition status/i.test(said ?? '')) return;
    throw new StackError(
      'status-refused',
      `${target.forge} does not take a status on ${target.commit.slice(0, 10)}: ${error.message}`,
      {
        hint: [401, 403, 404].includes(status ?? 0)
          ? `Check that ${target.forge === 'GitHub' ? 'GITHUB_TOKEN has "statuses: write"' : 'GITLAB_TOKEN has the scope "api"'}.`
          : undefined,
      },
      { cause: error },
    );
  } finally {
    await client.close();
  }
}

function cut(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length - 1)}…`;
}
