import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { holdLock } from '@stackwright/storage';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { call } from './call.js';

const quickstart = fileURLToPath(new URL('../../../stacks/quickstart', import.meta.url));
const [hello, libgreet] = ['hocoygzxdt3joeunr4qllim24bqkuvhh', 'lxymk2z6d2wwfnlqcpxtqd2vynx2ohhv'];
let folder: string;
let work: string;
let server: Server | undefined;
let url: string;
/** What the server got: method, path, body. */
let got: {
  readonly path: string;
  readonly query: URLSearchParams;
  readonly body: string;
  readonly headers: object;
}[];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'report-'));
  work = join(folder, 'work');
  cpSync(join(quickstart, 'spack.lock'), join(folder, 'stack/spack.lock'));
  mkdirSync(join(work, 'builds'), { recursive: true });
  mkdirSync(join(work, 'logs'));
  got = [];
  server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    const { pathname: path, searchParams: query } = new URL(request.url!, 'http://127.0.0.1');
    got.push({ path, query, body, headers: request.headers });
    if (path === '/submit.php') {
      if (query.get('project') !== 'Stacks')
        return response.writeHead(404).end('{"description":"No such project."}');
      return response.end('<cdash><message></message><status>OK</status><buildId>4</buildId></cdash>');
    }
    if (path === '/api/v1/buildgroup.php') return response.writeHead(401).end('{"requirelogin":1}');
    response.writeHead(path.includes('/statuses/') ? 201 : 404).end('{}');
  });
  await new Promise<void>((resolve) => server!.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  manifest(`  cdash: { build-group: Nightly, url: "${url}", project: Stacks, site: lab }\n`);
});
afterEach(() => {
  server?.closeAllConnections();
  server?.close();
  rmSync(folder, { recursive: true, force: true });
});

function manifest(cdash: string) {
  const text = readFileSync(join(quickstart, 'spack.yaml'), 'utf8').replace(/\n {2}repos:[\s\S]*$/, '\n');
  writeFileSync(join(folder, 'stack/spack.yaml'), `${text}${cdash}`);
}

function record(name: string, hash: string, outcome: 'passed' | 'failed', log: string) {
  const file = join(work, 'logs', `${name}.txt`);
  writeFileSync(file, log);
  const started = outcome === 'passed' ? '2026-11-24T08:00:59.000Z' : '2026-11-24T08:01:30.000Z';
  const build = {
    hash,
    outcome,
    started,
    seconds: 12.5,
    log: file,
    ...(outcome === 'failed' ? { failure: 'No luck.' } : {}),
  };
  writeFileSync(join(work, 'builds', `${hash}.json`), JSON.stringify(build));
}

const report = (args: string[] = [], env: NodeJS.ProcessEnv = {}) =>
  call(['report', join(folder, 'stack'), '--work', work, ...args], { env, cwd: folder });
const sent = (kind: string) => got.filter(({ body }) => body.includes(`<${kind}`)).map(({ body }) => body);

describe('stackwright report', () => {
  it('tells CDash of every build, as one run, and hides what is secret', async () => {
    record(
      'libgreet',
      libgreet,
      'passed',
      "==> libgreet: Executing phase: 'install'\ngreet.c:1:2: warning: unused\n",
    );
    const others = 'greet.c:1:2: error: of a dependency\n';
    const own = `==> Installing hello-2.0-${hello} [2/2]\nhello.c:7:1: error: token is t0ps3cret\n`;
    record('hello', hello, 'failed', others + own);
    const { code, stdout, stderr } = await report([], { CDASH_AUTH_TOKEN: 't0ps3cret' });
    expect({ code, stdout }).toEqual({
      code: 0,
      stdout: `libgreet@1.2.0/lxymk2z passed: ${url}/builds/4\nhello@2.0/hocoygz failed: ${url}/builds/4\n`,
    });
    expect(stderr).toContain('group Experimental');
    expect(got.map(({ headers }) => headers)).toEqual(
      got.map(() => expect.objectContaining({ authorization: 'Bearer t0ps3cret' })),
    );
    const builds = got.filter(({ path }) => path === '/submit.php');
    expect(new Set(builds.map(({ query }) => query.get('stamp')))).toEqual(
      new Set(['20261124-0800-Nightly']),
    );
    expect(new Set(builds.map(({ query }) => query.get('build')))).toEqual(
      new Set([
        `libgreet@1.2.0%gcc@12.2.0/${compiler()} hash=${libgreet} arch=linux-debian12-x86_64 (Nightly)`,
        `hello@2.0%gcc@12.2.0/${compiler()} hash=${hello} arch=linux-debian12-x86_64 (Nightly)`,
      ]),
    );
    const [passed, failed] = sent('Build>');
    expect(passed).toContain('<Warning>');
    expect(passed).not.toContain('<Error>');
    expect(failed).toContain('<Text>hello.c:7:1: error: token is ***</Text>');
    expect(failed).not.toContain('of a dependency');
    expect(sent('Upload>')).toHaveLength(2);
    expect(sent('Done>')).toHaveLength(2);
  });

  it('sends what is missing only, when told to, and reports what was not built', async () => {
    record('libgreet', libgreet, 'failed', 'greet.c:1:2: error: no\n');
    const jobs = [
      {
        hash: hello,
        name: 'hello',
        version: '2.0',
        state: 'blocked',
        reason: 'needs libgreet, which failed',
      },
    ];
    writeFileSync(join(work, 'run.json'), JSON.stringify({ stack: 'stack', state: 'failed', jobs }));
    expect(await report()).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/libgreet.* failed: .*\nhello@2\.0\/hocoygz blocked: /),
    });
    const [blocked] = sent('Configure>');
    expect(blocked).toMatch(/<Log>needs libgreet, which failed<\/Log><ConfigureStatus>1</);
    const before = got.length;
    expect((await report(['--resend'])).code).toBe(0);
    expect(got.slice(before).map(({ path }) => path)).toEqual(['/api/v1/buildgroup.php']);
  });

  it('sends the results of tests, with output and time', async () => {
    record('libgreet', libgreet, 'passed', 'cc\n');
    mkdirSync(join(work, 'tests/suite'), { recursive: true });
    const time = (seconds: number) => `==> [2026-11-24-08:00:0${seconds}.000000] `;
    writeFileSync(
      join(work, `tests/suite/libgreet-1.2.0-${libgreet.slice(0, 7)}-test-out.txt`),
      `${time(1)}test: test_tune: in tune\nla la\nFAILED: Libgreet::test_tune: out of tune\n${time(3)}Completed testing\n`,
    );
    expect((await report()).code).toBe(0);
    expect(sent('Testing>')[0]).toMatch(
      /<Test Status="failed"><Name>test_tune<\/Name>.*<Value>2\.00<\/Value>/,
    );
  });

  it.each([
    [[], 0, /Warning: /],
    [['--strict'], 3, /can't be reached/],
  ])('puts the status although CDash is away, and with %j ends with %i', async (args, expected, said) => {
    manifest('  cdash: { build-group: Nightly, url: "http://127.0.0.1:1", project: Stacks, site: lab }\n');
    record('hello', hello, 'failed', '');
    const { code, stderr } = await report(args, {
      GITHUB_API_URL: url,
      GITHUB_REPOSITORY: 'me/stack',
      GITHUB_SHA: 'f'.repeat(40),
      GITHUB_TOKEN: 'secret',
    });
    expect({ code, stderr }).toEqual({ code: expected, stderr: expect.stringMatching(said) });
    expect(got.some(({ path }) => path.includes('/statuses/'))).toBe(true);
  });

  it('writes the files instead, when told to', async () => {
    record('hello', hello, 'failed', '');
    const { code, stdout } = await report(['--write', 'out']);
    expect({ code, stdout }).toEqual({ code: 0, stdout: `${folder}/out/hello-${hello}\n` });
    expect(readFileSync(join(folder, 'out', `hello-${hello}`, 'Build.xml'), 'utf8')).toContain(
      '<Text>No luck.</Text>',
    );
    expect(got).toEqual([]);
  });

  it('puts a status on the commit of the job', async () => {
    manifest('');
    record('libgreet', libgreet, 'passed', '');
    record('hello', hello, 'failed', '');
    const { code, stderr } = await report([], {
      GITHUB_API_URL: url,
      GITHUB_REPOSITORY: 'me/stack',
      GITHUB_SHA: '0123456789abcdef',
      GITHUB_TOKEN: 'ghs_secret',
      GITHUB_SERVER_URL: 'https://github.com',
      GITHUB_RUN_ID: '5',
    });
    expect({ code, stderr }).toEqual({
      code: 0,
      stderr: expect.stringContaining('Status on 0123456789 at GitHub: 1 failed (hello), 1 built in 25 s'),
    });
    expect(got).toMatchObject([
      { path: '/repos/me/stack/statuses/0123456789abcdef', headers: { authorization: 'Bearer ghs_secret' } },
    ]);
    expect(JSON.parse(got[0]!.body)).toEqual({
      state: 'failure',
      context: 'stackwright/stack',
      description: '1 failed (hello), 1 built in 25 s',
      target_url: 'https://github.com/me/stack/actions/runs/5',
    });
  });

  it('tells a pull request of a failure: status on its own commit, check run, comment, summary, JUnit', async () => {
    manifest('');
    record(
      'hello',
      hello,
      'failed',
      "==> hello: Executing phase: 'build'\ncc hello.c\nhello.c:7:1: error: `no` </text> @me\n",
    );
    const event = join(folder, 'event.json');
    writeFileSync(event, JSON.stringify({ pull_request: { number: 4, head: { sha: 'ab'.repeat(20) } } }));
    const { code, stderr } = await report(['--check', '--comment', '--junit', 'junit.xml'], {
      GITHUB_API_URL: url,
      GITHUB_REPOSITORY: 'me/stack',
      GITHUB_SHA: '0123456789abcdef',
      GITHUB_EVENT_PATH: event,
      GITHUB_TOKEN: 'ghs_secret',
      GITHUB_STEP_SUMMARY: join(folder, 'summary.md'),
    });
    expect(code).toBe(0);
    // The server of this test has no check runs and no comments: that is told, and the rest is done.
    expect(stderr).toMatch(/Warning: GitHub does not take a check run on ababababab[\s\S]*"checks: write"/);
    expect(stderr).toMatch(/Warning: GitHub does not take a comment/);
    expect(got.map(({ path }) => path).slice(0, 2)).toEqual([
      `/repos/me/stack/statuses/${'ab'.repeat(20)}`,
      `/repos/me/stack/commits/${'ab'.repeat(20)}/check-runs`,
    ]);
    const summary = readFileSync(join(folder, 'summary.md'), 'utf8');
    expect(summary).toContain('in phase build at `hello.c:7`');
    expect(summary).toContain('> hello.c:7:1: error: `no` </text> @me');
    const junit = readFileSync(join(folder, 'junit.xml'), 'utf8');
    expect(junit).toContain('<failure message="hello.c:7:1: error: `no` &lt;/text&gt; @me" type="build">');
  });

  it('puts it on the commit of a GitLab job, too', async () => {
    manifest('');
    record('hello', hello, 'passed', '');
    const { code } = await report([], {
      CI_API_V4_URL: `${url}/api/v4`,
      CI_PROJECT_ID: '12',
      CI_COMMIT_SHA: 'fedcba9876543210',
      CI_PIPELINE_URL: 'https://gitlab.example/p/1',
      GITLAB_TOKEN: 'glpat-secret',
    });
    expect(code).toBe(0);
    expect(got).toMatchObject([
      { path: '/api/v4/projects/12/statuses/fedcba9876543210', headers: { 'private-token': 'glpat-secret' } },
    ]);
    expect(JSON.parse(got[0]!.body)).toMatchObject({
      state: 'success',
      name: 'stackwright/stack',
      target_url: 'https://gitlab.example/p/1',
    });
  });

  it('has nothing to tell of a run that found all up to date, but that all is well', async () => {
    manifest('');
    writeFileSync(join(work, 'report.html'), '');
    const env = {
      GITHUB_API_URL: url,
      GITHUB_REPOSITORY: 'me/stack',
      GITHUB_SHA: 'f'.repeat(40),
      GITHUB_TOKEN: 'secret',
    };
    expect(await report([], env)).toMatchObject({ code: 0 });
    expect(JSON.parse(got[0]!.body)).toMatchObject({
      state: 'success',
      description: 'nothing had to be built',
    });
  });

  it.each([
    ['no builds', () => {}, [], 2, /has no builds to report/],
    ['no CDash and no commit', () => manifest(''), [], 2, /nobody to report to/],
    ['no project', () => manifest(`  cdash: { build-group: N, url: "${url}" }\n`), [], 2, /no project there/],
    ['a project that CDash lacks', () => {}, ['--project', 'Other'], 2, /no project "Other"/],
  ])('says what is wrong with %s', async (what, change, args, expected, message) => {
    if (what !== 'no builds') record('hello', hello, 'passed', '');
    change();
    const { code, stderr } = await report(args);
    expect(stderr).toMatch(message);
    expect(code).toBe(expected);
  });
});

describe('stackwright report --collect', () => {
  it("merges what a pipeline's jobs left, with their logs, into one page and one JUnit file", async () => {
    manifest('');
    for (const [name, hash, outcome] of [
      ['hello', hello, 'passed'],
      ['libgreet', libgreet, 'failed'],
    ] as const) {
      const own = join(folder, 'artifacts', name);
      mkdirSync(join(own, 'builds'), { recursive: true });
      mkdirSync(join(own, 'logs'));
      writeFileSync(join(own, 'logs', `${name}.txt`), outcome === 'failed' ? 'greet.c:3:1: error: no\n' : '');
      const build = {
        hash,
        outcome,
        started: '2026-11-24T08:00:00.000Z',
        seconds: 4,
        log: `/elsewhere/${name}.txt`,
      };
      writeFileSync(join(own, 'builds', `${hash}.json`), JSON.stringify(build));
    }
    const args = [
      '--collect',
      'artifacts/hello',
      'artifacts/libgreet',
      '--page',
      'page.html',
      '--junit',
      'junit.xml',
    ];
    expect((await report(args)).code).toBe(0);
    const page = readFileSync(join(folder, 'page.html'), 'utf8');
    expect(page).toContain('<mark>greet.c:3:1: error: no</mark>');
    expect(page).toMatch(/<p class="verdict failed">1 failed \(libgreet\), \d blocked, 1 built/);
    expect(readFileSync(join(folder, 'junit.xml'), 'utf8')).toContain('failures="1"');
    expect((await report(['--collect', 'nowhere'])).code).toBe(2);
  });

  it.each(['a path of its own', 'a symbolic link'])(
    'reads no file of this machine that the record of a job names by %s',
    async (how) => {
      manifest('');
      const own = join(folder, 'artifacts/libgreet');
      mkdirSync(join(own, 'builds'), { recursive: true });
      mkdirSync(join(own, 'logs'));
      const secret = join(folder, 'environ.txt');
      writeFileSync(secret, 'error: t0ps3cret\n');
      if (how === 'a symbolic link') symlinkSync(secret, join(own, 'logs/environ.txt'));
      const build = { hash: libgreet, outcome: 'failed', started: '2026-11-24T08:00:00.000Z', seconds: 4 };
      writeFileSync(join(own, 'builds/a.json'), JSON.stringify({ ...build, log: secret }));
      const { code, stdout, stderr } = await report(['--collect', 'artifacts', '--junit', 'junit.xml']);
      const junit = existsSync(join(folder, 'junit.xml'))
        ? readFileSync(join(folder, 'junit.xml'), 'utf8')
        : '';
      expect(stdout + stderr + junit).not.toContain('t0ps3cret');
      if (how === 'a symbolic link')
        expect({ code, stderr }).toMatchObject({ code: 2, stderr: expect.stringMatching(/symbolic link/) });
      else expect(junit).toContain('cannot be read');
    },
  );
});

describe('stackwright status', () => {
  const status = (...args: string[]) =>
    call(['status', join(folder, 'stack'), '--work', work, ...args], { env: {}, cwd: folder });
  /** Works in the work folder, as a run does. */
  const holdWork = async () => {
    const lock = await holdLock(join(work, 'run'));
    if (!('release' in lock)) throw new Error('in use');
    return lock.release;
  };

  it('shows a run that goes on with what its builds left, and why one failed', async () => {
    const jobs = [
      { hash: libgreet, name: 'libgreet', version: '1.2.0', state: 'waiting' },
      { hash: hello, name: 'hello', version: '2.0', state: 'waiting' },
    ];
    const run = { stack: 'stack', state: 'running', started: '2026-11-24T08:01:00.000Z', jobs };
    writeFileSync(join(work, 'run.json'), JSON.stringify(run));
    const release = await holdWork();
    // Of an earlier run in the same folder.
    record('libgreet', libgreet, 'passed', '');
    record('hello', hello, 'failed', 'cc\nhello.c:7:1: error: no\n');
    const { code, stdout } = await status();
    expect(code).toBe(0);
    expect(stdout).toBe(
      'stack: running, 1 failed (hello), 1 to build\n  ✗ hello@2.0/hocoygz: hello.c:7:1: error: no\n    log: work/logs/hello.txt\n',
    );
    expect(JSON.parse((await status('--json')).stdout)).toMatchObject({ state: 'running', stack: 'stack' });
    await release();
  });

  it('watches until the run ends', async () => {
    const jobs = [{ hash: hello, name: 'hello', version: '2.0', state: 'waiting' }];
    const file = join(work, 'run.json');
    writeFileSync(file, JSON.stringify({ stack: 'stack', state: 'running', jobs }));
    const release = await holdWork();
    const watching = status('--watch');
    await new Promise((resolve) => setTimeout(resolve, 1500));
    writeFileSync(
      file,
      JSON.stringify({ stack: 'stack', state: 'done', jobs: [{ ...jobs[0], state: 'done', seconds: 2 }] }),
    );
    const { code, stdout } = await watching;
    expect({ code, last: stdout.trim().split('\n').at(-1) }).toEqual({
      code: 0,
      last: 'stack: done, 1 built in 2.0 s',
    });
    await release();
  });

  it('stops watching when the run was killed, and says that it was interrupted', async () => {
    const jobs = [{ hash: hello, name: 'hello', version: '2.0', state: 'waiting' }];
    writeFileSync(join(work, 'run.json'), JSON.stringify({ stack: 'stack', state: 'running', jobs }));
    const release = await holdWork();
    const watching = status('--watch');
    await new Promise((resolve) => setTimeout(resolve, 1000));
    // The lock of a killed process counts as given back; packages/storage/src/lock.test.ts kills one.
    await release();
    expect(await watching).toMatchObject({
      code: 0,
      stdout: 'stack: running, 1 to build\nstack: interrupted, 1 to build\n',
    });
    expect(JSON.parse((await status('--json')).stdout)).toMatchObject({ state: 'interrupted' });
  });

  it('says that there is no run', async () => {
    expect(await status()).toMatchObject({ code: 2, stderr: expect.stringContaining('has no run of stack') });
  });
});

/** The lock's own hash of the compiler. */
function compiler(): string {
  const lock = JSON.parse(readFileSync(join(quickstart, 'spack.lock'), 'utf8'));
  return Object.entries<{ name: string }>(lock.concrete_specs).find(([, spec]) => spec.name === 'gcc')![0];
}
