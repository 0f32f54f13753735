import type { Caller } from '../caller.js';
import { ForgeClient, notTaken } from './client.js';
import type { Annotation, CheckRun, CommitStatus, CommitTarget } from './forge.js';

type Site = Pick<Caller, 'env' | 'signal'>;

/** Annotations that GitHub takes in one request. */
const annotationLimit = 50;
/** Characters of a check run's summary (65,535 at GitHub), and of a comment. */
const textLimit = 60_000;
const pageSize = 100;

/** Puts a status on a commit. @throws StackError `status-refused` when the forge does not take it */
export async function setCommitStatus(site: Site, target: CommitTarget, status: CommitStatus): Promise<void> {
  const { state, context, description, link } = status;
  await withClient(site, target, 'a status', async (client) => {
    if (target.forge === 'GitHub') {
      const body = { state, context, description: cut(description, 140), target_url: link };
      // Whoever sets a status twice has set it once.
      await client.request(`/statuses/${target.commit}`, { method: 'POST', json: body, repeatable: true });
      return;
    }
    const json = {
      state: state === 'failure' ? 'failed' : state,
      name: context,
      description: cut(description, 255),
      target_url: link,
      pipeline_id: target.pipeline === undefined ? undefined : Number(target.pipeline),
    };
    try {
      await client.request(`/statuses/${target.commit}`, { method: 'POST', json, repeatable: true });
    } catch (error) {
      // GitLab refuses a status that says what the one before said.
      if (!isSame(error)) throw error;
    }
  });
}

/** Shows a run as a check run of GitHub; the one of that name on the commit is updated. Other forges have none. */
export async function setCheckRun(site: Site, target: CommitTarget, check: CheckRun): Promise<void> {
  if (target.forge !== 'GitHub') return;
  const { context: name, state, description, summary, annotations, link } = check;
  const attempt = [site.env.GITHUB_RUN_ID, site.env.GITHUB_RUN_ATTEMPT].filter(Boolean).join('-');
  const output = { title: cut(description, 255), summary: cut(summary, textLimit) };
  const body = {
    name,
    head_sha: target.commit,
    external_id: attempt,
    details_url: link,
    status: state === 'pending' ? 'in_progress' : 'completed',
    conclusion: state === 'pending' ? undefined : state,
    output: { ...output, annotations: annotations.slice(0, annotationLimit).map(annotationOf) },
  };
  await withClient(site, target, 'a check run', (client) =>
    client.again(async () => {
      const found = await client.request(
        `/commits/${target.commit}/check-runs?${new URLSearchParams({ check_name: name, filter: 'latest' })}`,
      );
      const [last] = (found.json() as { check_runs?: LastCheck[] }).check_runs ?? [];
      // The one of an earlier run that is complete stays as it was.
      const id =
        last && (last.status !== 'completed' || (last.external_id ?? '') === attempt)
          ? (
              (
                await client.request(`/check-runs/${last.id}`, {
                  method: 'PATCH',
                  json: body,
                  repeatable: true,
                })
              ).json() as { id: number }
            ).id
          : (
              (await client.request('/check-runs', { method: 'POST', json: body, attempts: 1 })).json() as {
                id: number;
              }
            ).id;
      for (let at = annotationLimit; at < annotations.length; at += annotationLimit) {
        const more = annotations.slice(at, at + annotationLimit).map(annotationOf);
        await client.request(`/check-runs/${id}`, {
          method: 'PATCH',
          json: { output: { ...output, annotations: more } },
        });
      }
    }),
  );
}

/**
 * Writes a comment on the pull or merge request of the job, in the place of the one before.
 * @param mark a text that only this comment has
 * @returns whether there is a pull request
 */
export async function setComment(
  site: Site,
  target: CommitTarget,
  { mark, text }: { readonly mark: string; readonly text: string },
): Promise<boolean> {
  const { request } = target;
  if (request === undefined) return false;
  const isGitHub = target.forge === 'GitHub';
  const list = isGitHub ? `/issues/${request}/comments` : `/merge_requests/${request}/notes`;
  const one = (id: number) => (isGitHub ? `/issues/comments/${id}` : `${list}/${id}`);
  const json = { body: cut(text, textLimit) };
  await withClient(site, target, 'a comment', (client) =>
    // Together, so that a comment whose answer was lost is found and not written twice.
    client.again(async () => {
      const id = await findComment(client, list, mark);
      if (id === undefined) await client.request(list, { method: 'POST', json, attempts: 1 });
      else await client.request(one(id), { method: isGitHub ? 'PATCH' : 'PUT', json, repeatable: true });
    }),
  );
  return true;
}

interface LastCheck {
  readonly id: number;
  readonly status: string;
  readonly external_id?: string;
}

async function findComment(client: ForgeClient, list: string, mark: string): Promise<number | undefined> {
  for (let page = 1; ; page += 1) {
    const answer = await client.request(`${list}?per_page=${pageSize}&page=${page}`);
    const comments = answer.json() as { id: number; body?: string }[];
    const found = comments.find(({ body }) => body?.startsWith(mark));
    if (found) return found.id;
    if (comments.length < pageSize) return undefined;
  }
}

async function withClient(
  site: Site,
  target: CommitTarget,
  what: 'a status' | 'a check run' | 'a comment',
  work: (client: ForgeClient) => Promise<void>,
): Promise<void> {
  const client = new ForgeClient(site, target);
  try {
    await work(client);
  } catch (error) {
    site.signal.throwIfAborted();
    throw notTaken(target, what, error);
  } finally {
    await client.close();
  }
}

function isSame(error: unknown): boolean {
  const { status, said } = (error as { details?: { status?: number; said?: string } }).details ?? {};
  return status === 400 && /Cannot transition status/i.test(said ?? '');
}

function annotationOf({ path, line, title, message }: Annotation) {
  return {
    path,
    start_line: line,
    end_line: line,
    annotation_level: 'failure',
    title: cut(title, 255),
    message: cut(message, textLimit),
  };
}

function cut(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length - 1)}…`;
}
