import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { commitTarget } from './forge.js';
import { setCheckRun, setComment, setCommitStatus } from './tell.js';

/** What a forge answers instead of what was asked for; `lose` does as asked and breaks the connection. */
type Trouble = { status: number; headers?: Record<string, string> } | 'lose';
let server: Server;
let url: string;
let got: string[];
let bodies: Record<string, unknown>[];
/** By number of the request, from 1. */
let troubles: Map<number, Trouble>;
let comments: { id: number; body: string }[];
let checks: { id: number; name: string; status: string; conclusion?: string; annotations: number }[];
let statuses: Map<string, string>;

beforeEach(async () => {
  [got, bodies, comments, checks, troubles, statuses] = [[], [], [], [], new Map(), new Map()];
  server = createServer(async (request, response) => {
    let text = '';
    for await (const chunk of request) text += chunk;
    const body = text ? (JSON.parse(text) as Record<string, unknown>) : {};
    const { pathname, searchParams } = new URL(request.url ?? '', 'http://h');
    got.push(`${request.method} ${pathname}`);
    bodies.push(body);
    const trouble = troubles.get(got.length);
    if (typeof trouble === 'object') {
      return void response.writeHead(trouble.status, trouble.headers).end('{"message":"no"}');
    }
    const answer = act(request.method ?? '', pathname, searchParams, body);
    if (trouble === 'lose') return void request.socket.destroy();
    response
      .writeHead(answer === undefined ? 404 : request.method === 'POST' ? 201 : 200)
      .end(JSON.stringify(answer ?? {}));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterEach(() => {
  server.closeAllConnections();
  server.close();
});

/** Plays the parts of both APIs that are asked: statuses, check runs, comments of issues, notes of merge requests. */
function act(method: string, path: string, query: URLSearchParams, body: Record<string, unknown>): unknown {
  const [, last = ''] = /\/([^/]+)$/.exec(path) ?? [];
  if (path.includes('/statuses/')) {
    const name = String(body.context ?? body.name);
    statuses.set(`${last} ${name}`, String(body.state));
    return {};
  }
  if (path.endsWith('/check-runs') && method === 'GET')
    return { check_runs: checks.filter(({ name }) => name === query.get('check_name')).slice(-1) };
  if (path.includes('/check-runs')) {
    const given = ((body.output as { annotations?: unknown[] }) ?? {}).annotations?.length ?? 0;
    const found = checks.find(({ id }) => String(id) === last);
    if (method === 'POST') {
      checks.push({
        id: 100 + checks.length,
        annotations: given,
        ...(body as { name: string; status: string }),
      });
      return checks.at(-1);
    }
    if (found) Object.assign(found, { ...body, annotations: found.annotations + given });
    return found;
  }
  if (/\/(?:comments|notes)$/.test(path)) {
    if (method === 'POST') comments.push({ id: comments.length + 1, body: String(body.body) });
    const from = (Number(query.get('page') ?? 1) - 1) * 100;
    return method === 'POST' ? comments.at(-1) : comments.slice(from, from + 100);
  }
  const comment = comments.find(({ id }) => String(id) === last);
  if (comment) comment.body = String(body.body);
  return comment;
}

const gitHub = () => ({
  GITHUB_API_URL: `${url}/api/v3`,
  GITHUB_REPOSITORY: 'me/stack',
  GITHUB_SHA: 'merge',
  GITHUB_REF: 'refs/pull/12/merge',
  GITHUB_TOKEN: 'ghs_secret_token',
});
const gitLab = () => ({
  CI_API_V4_URL: `${url}/api/v4`,
  CI_PROJECT_ID: '7',
  CI_COMMIT_SHA: 'merged',
  CI_MERGE_REQUEST_SOURCE_BRANCH_SHA: 'own',
  CI_MERGE_REQUEST_IID: '3',
  CI_PIPELINE_ID: '55',
  GITLAB_TOKEN: 'glpat-secret',
});
function place(env: NodeJS.ProcessEnv) {
  const target = commitTarget(env);
  if (!target) throw new Error('no target');
  return [{ env, signal: new AbortController().signal }, target] as const;
}
const status = { state: 'pending', context: 'stackwright/s', description: 'd' } as const;
const check = (state: 'pending' | 'failure', annotations = 0) => ({
  ...status,
  state,
  summary: 'S',
  annotations: Array.from({ length: annotations }, (_, at) => ({
    path: 'spack.yaml',
    line: at + 1,
    title: 't',
    message: 'm',
  })),
});

describe('the commit that is told', () => {
  it("is the pull request's own, by the event of GitHub", () => {
    const folder = mkdtempSync(join(tmpdir(), 'event-'));
    const file = join(folder, 'event.json');
    writeFileSync(file, JSON.stringify({ pull_request: { number: 4, head: { sha: 'head' } } }));
    expect(commitTarget({ ...gitHub(), GITHUB_EVENT_PATH: file })).toMatchObject({
      commit: 'head',
      request: 4,
    });
    rmSync(folder, { recursive: true });
    expect(commitTarget({ ...gitHub(), GITHUB_EVENT_PATH: file })).toMatchObject({
      commit: 'merge',
      request: 12,
    });
  });

  it("is the source branch's, in a merged-results pipeline of GitLab", () => {
    expect(commitTarget(gitLab())).toMatchObject({ commit: 'own', request: 3, pipeline: '55' });
    expect(commitTarget({ ...gitLab(), CI_MERGE_REQUEST_SOURCE_BRANCH_SHA: '' })?.commit).toBe('merged');
  });
});

describe("a pull request's life", () => {
  it('at GitHub: pending, result, one check run and one comment', async () => {
    const at = place(gitHub());
    await setCommitStatus(...at, status);
    await setCheckRun(...at, check('pending'));
    await setComment(...at, { mark: '<!-- s -->', text: '<!-- s -->\nbefore' });
    await setCommitStatus(...at, { ...status, state: 'failure' });
    await setCheckRun(...at, check('failure', 120));
    await setComment(...at, { mark: '<!-- s -->', text: '<!-- s -->\nafter' });
    expect([...statuses]).toEqual([['merge stackwright/s', 'failure']]);
    expect(checks).toMatchObject([{ status: 'completed', conclusion: 'failure', annotations: 120 }]);
    expect(comments).toEqual([{ id: 1, body: '<!-- s -->\nafter' }]);
    expect(got).toEqual([
      'POST /api/v3/repos/me/stack/statuses/merge',
      'GET /api/v3/repos/me/stack/commits/merge/check-runs',
      'POST /api/v3/repos/me/stack/check-runs',
      'GET /api/v3/repos/me/stack/issues/12/comments',
      'POST /api/v3/repos/me/stack/issues/12/comments',
      'POST /api/v3/repos/me/stack/statuses/merge',
      'GET /api/v3/repos/me/stack/commits/merge/check-runs',
      'PATCH /api/v3/repos/me/stack/check-runs/100',
      'PATCH /api/v3/repos/me/stack/check-runs/100',
      'PATCH /api/v3/repos/me/stack/check-runs/100',
      'GET /api/v3/repos/me/stack/issues/12/comments',
      'PATCH /api/v3/repos/me/stack/issues/comments/1',
    ]);
  });

  it('at GitLab: a status of the pipeline, and one note', async () => {
    const at = place(gitLab());
    comments = Array.from({ length: 130 }, (_, id) => ({ id: id + 1, body: 'of others' }));
    await setCommitStatus(...at, status);
    await setComment(...at, { mark: '<!-- s -->', text: '<!-- s -->\nbefore' });
    await setComment(...at, { mark: '<!-- s -->', text: '<!-- s -->\nafter' });
    await setCheckRun(...at, check('failure'));
    expect(bodies[0]).toMatchObject({ state: 'pending', name: 'stackwright/s', pipeline_id: 55 });
    expect(comments.slice(130)).toEqual([{ id: 131, body: '<!-- s -->\nafter' }]);
    expect(got.at(-1)).toBe('PUT /api/v4/projects/7/merge_requests/3/notes/131');
  });
});

describe('a forge in trouble', () => {
  it.each<[string, Trouble]>([
    ['too many requests', { status: 429, headers: { 'retry-after': '0' } }],
    ['a secondary limit', { status: 403, headers: { 'retry-after': '0' } }],
    [
      'a limit that is used up',
      { status: 403, headers: { 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': '1' } },
    ],
    ['a bad gateway', { status: 502 }],
    ['a lost answer', 'lose'],
  ])('with %s is asked again, and nothing is there twice', async (_, trouble) => {
    const at = place(gitHub());
    for (const number of [1, 4, 7]) troubles.set(number, trouble);
    await setCommitStatus(...at, status);
    await setComment(...at, { mark: '<!-- s -->', text: '<!-- s -->' });
    await setCheckRun(...at, check('failure'));
    expect(comments).toHaveLength(1);
    expect(checks).toHaveLength(1);
    expect(statuses.size).toBe(1);
  });

  it.each([
    [{ status: 403 }, /"statuses: write"/],
    [
      { status: 403, headers: { 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': '99999999999' } },
      undefined,
    ],
  ])('that answers %j for good is not asked again', async (trouble, hint) => {
    for (let at = 1; at < 9; at += 1) troubles.set(at, trouble);
    const error: unknown = await setCommitStatus(...place(gitHub()), status).catch((one: unknown) => one);
    expect(error).toMatchObject({ code: 'status-refused' });
    if (hint) expect((error as { hint: string }).hint).toMatch(hint);
    expect(got).toHaveLength(1);
    expect(String(error)).not.toContain('ghs_secret_token');
  });
});
