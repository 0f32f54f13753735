import { execFileSync, spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readStackSettings } from '@stackwright/spack-env';
import { findProgram } from '@stackwright/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { call } from './call.js';

const quickstart = fileURLToPath(new URL('../../../stacks/quickstart', import.meta.url));
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'init-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));
const run = (...args: string[]) => call(args, { cwd: folder });
const read = (file: string) => readFileSync(join(folder, file), 'utf8');

describe('stackwright init', () => {
  it('adopts a stack with the configuration and recipes that lie outside of its folder', async () => {
    const repository = join(folder, 'repository');
    const put = (path: string, text: string) => {
      mkdirSync(join(repository, path, '..'), { recursive: true });
      writeFileSync(join(repository, path), text);
    };
    put(
      'stacks/a/spack.yaml',
      'spack:\n  include: [../../configs]\n  repos: {own: ../../recipes/spack_repo/own}\n  specs: [zlib] # kept\n',
    );
    put('configs/include.yaml', 'include: [{ path: linux }]\n');
    put('configs/linux/packages.yaml', 'packages: {all: {require: [target=x86_64]}}\n');
    put('recipes/spack_repo/own/repo.yaml', 'repo: {namespace: own}\n');
    const git = (...args: string[]) =>
      execFileSync('git', ['-c', 'user.name=a', '-c', 'user.email=a@b.c', ...args], {
        cwd: repository,
        stdio: 'pipe',
      });
    git('init', '--quiet', '--initial-branch=main');
    git('add', '.');
    git('commit', '--quiet', '-m', 'x');
    for (const from of [join(repository, 'stacks/a'), `file://${repository}#stacks/a`]) {
      rmSync(join(folder, 'adopted'), { recursive: true, force: true });
      expect(await run('init', 'adopted', '--from', from, '--yes')).toMatchObject({ code: 0 });
      // Nothing of it leads back to where it came from.
      renameSync(repository, `${repository}-away`);
      try {
        expect(read('adopted/spack.yaml')).toContain('[zlib] # kept');
        const found = await run('check', 'adopted', '--json');
        expect(found).toMatchObject({ code: 0 });
        expect(found.stdout).not.toContain('missing-include');
        expect(read('adopted/carried/1/configs/linux/packages.yaml')).toContain('x86_64');
      } finally {
        renameSync(`${repository}-away`, repository);
      }
    }
  });

  it('writes a stack that there is nothing to complain about', async () => {
    const init = await run(
      'init',
      'site',
      '--spec',
      'zlib-ng@2: +compat',
      '--spec',
      'tcl',
      '--mirror',
      's3://b/site',
    );
    expect(init.code).toBe(0);
    const files = readdirSync(join(folder, 'site'), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1));
    expect(init.stdout.trim().split('\n').sort()).toEqual(files.sort());
    expect(statSync(join(folder, 'site/hooks/build')).mode & 0o111).toBe(0o111);
    expect(await call(['check', join(folder, 'site')])).toMatchObject({
      code: 0,
      stdout: 'Nothing to complain about.\n',
    });
    const specs = await call(['specs', join(folder, 'site'), '--json']);
    expect(JSON.parse(specs.stdout).specs.map((one: { spec: string }) => one.spec)).toEqual([
      'zlib-ng@2:+compat',
      'tcl',
    ]);
    expect(parse(read('site/spack.yaml')).spack.mirrors).toEqual({
      'buildcache-destination': { url: 's3://b/site-staging', signed: false },
      release: { url: 's3://b/site', signed: true },
    });
    const settings = await readStackSettings(join(folder, 'site'));
    expect(settings).toMatchObject({ trust: [], image: { base: 'debian:12' } });
    for (const file of files.filter((name) => name.endsWith('.yml')))
      expect(parse(read(file))).toBeTypeOf('object');
  });

  it('writes a pipeline that GitLab takes', async () => {
    await run('init', '.', '--name', 'site');
    const git = (...args: string[]) =>
      execFileSync('git', ['-c', 'user.name=a', '-c', 'user.email=a@b.c', ...args], {
        cwd: folder,
        stdio: 'pipe',
      });
    git('init', '--quiet', '--initial-branch=main');
    git('add', '.');
    git('commit', '--quiet', '-m', 'x');
    git('remote', 'add', 'origin', 'git@gitlab.example:a/b.git');
    const cli = fileURLToPath(new URL('../node_modules/.bin/gitlab-ci-local', import.meta.url));
    const list = execFileSync(cli, ['--list-csv', '--force-shell-executor'], {
      cwd: folder,
      encoding: 'utf8',
      stdio: 'pipe',
    });
    expect(
      list
        .split('\n')
        .slice(1)
        .map((line) => line.split(';')[0]),
    ).toEqual(expect.arrayContaining(['generate', 'build', 'sign', 'publish-image']));
  });

  type Job = {
    if: string;
    environment?: string;
    permissions: Record<string, string>;
    steps: { uses?: string; run?: string; with?: object; env?: Record<string, string> }[];
  };
  const workflowOf = (text: string) =>
    parse(text) as { permissions: object; concurrency: object; jobs: Record<string, Job> };

  it.each([undefined, 's3://b/site', 'oci://registry.example.org/me/site'])(
    'writes a GitHub workflow that gives pull requests no secret, and the key to one job (%s)',
    async (mirror) => {
      await run('init', 'site', ...(mirror ? ['--mirror', mirror] : []));
      const { permissions, concurrency, jobs } = workflowOf(read('site/.github/workflows/stack.yml'));
      expect(permissions).toEqual({});
      expect(concurrency).toHaveProperty('group');
      const { check, start, tell, ...others } = jobs;
      // What may write to a pull request builds nothing, and is not for forks.
      for (const job of [start, tell]) {
        expect(job?.if).toContain('github.event.pull_request.head.repo.full_name == github.repository');
        expect(JSON.stringify(job)).not.toMatch(/stackwright@\S+ (?!report )|secrets\.(?!GITHUB_TOKEN)/);
      }
      expect(check).toMatchObject({
        if: "github.event_name == 'pull_request'",
        permissions: { contents: 'read' },
      });
      expect(JSON.stringify(check)).not.toContain('secrets.');
      expect(Object.values(check?.permissions ?? {})).not.toContain('write');
      for (const job of Object.values(others)) {
        expect(job.if).toBe("github.event_name == 'push'");
        expect(job.environment).toMatch(/^(build|release)$/);
      }
      const withKey = Object.entries(jobs).filter(([, job]) => JSON.stringify(job).includes('SIGNING_KEY'));
      // A registry has no signatures.
      expect(withKey.map(([id, job]) => [id, job.environment])).toEqual(
        mirror?.startsWith('oci:') ? [] : [['sign', 'release']],
      );
      for (const { uses, with: given } of Object.values(jobs).flatMap(({ steps }) => steps)) {
        if (!uses) continue;
        expect(uses).toMatch(/@[0-9a-f]{40}$/);
        if (uses.startsWith('actions/checkout'))
          expect(given).toMatchObject({ 'persist-credentials': false });
      }
    },
  );

  describe('tells the forge', () => {
    let server: Server;
    let got: { readonly path: string; readonly body: Record<string, unknown> }[];
    let url: string;
    let at: string;
    beforeEach(async () => {
      got = [];
      server = createServer(async (request, response) => {
        let text = '';
        for await (const chunk of request) text += chunk;
        const isRead = request.method === 'GET';
        if (!isRead) got.push({ path: request.url ?? '', body: JSON.parse(text) });
        const found = request.url?.includes('check-runs?') ? '{"check_runs":[]}' : '[]';
        response.writeHead(isRead ? 200 : 201).end(isRead ? found : '{"id":1}');
      });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
      at = join(folder, 'site');
      await run('init', 'site', '--mirror', join(folder, 'mirror'));
      cpSync(join(quickstart, 'spack.lock'), join(at, 'spack.lock'));
    });
    afterEach(() => {
      server.closeAllConnections();
      server.close();
    });
    /** The calls of `report` in a script, without the program that fetches the command. */
    const reports = (script: readonly string[]) =>
      script.flatMap((text) =>
        [...text.matchAll(/stackwright@\S+ (report [^;|\n]+)/g)].map((found) => found[1] ?? ''),
      );
    const tell = async (script: readonly string[], env: NodeJS.ProcessEnv) => {
      const calls = reports(script);
      expect(calls).toHaveLength(1);
      for (const args of calls) {
        const { code, stderr } = await call(args.trim().split(' '), {
          cwd: at,
          env: { HOME: folder, ...env },
        });
        expect({ code, stderr }).toMatchObject({ code: 0 });
      }
    };
    const record = (artifacts: string) => {
      const hash = 'lxymk2z6d2wwfnlqcpxtqd2vynx2ohhv';
      const started = '2026-11-24T08:00:00.000Z';
      mkdirSync(join(at, artifacts, 'builds'), { recursive: true });
      writeFileSync(
        join(at, artifacts, `builds/${hash}.json`),
        JSON.stringify({ hash, outcome: 'failed', failure: 'no', started, seconds: 1, log: 'none' }),
      );
    };
    const told = (path: RegExp, key: string) =>
      got.filter((one) => path.test(one.path)).map(({ body }) => body[key]);

    it('at GitHub, in a pull request and on the main branch', async () => {
      const { jobs } = workflowOf(read('site/.github/workflows/stack.yml'));
      const event = join(folder, 'event.json');
      writeFileSync(event, JSON.stringify({ pull_request: { number: 4, head: { sha: 'ab'.repeat(20) } } }));
      const env = {
        GITHUB_API_URL: url,
        GITHUB_REPOSITORY: 'me/site',
        GITHUB_SHA: 'cd'.repeat(20),
        GITHUB_TOKEN: 'token',
      };
      const scripts = (job: string) => (jobs[job]?.steps ?? []).flatMap(({ run: text }) => text ?? []);
      await tell(scripts('start'), { ...env, GITHUB_EVENT_PATH: event });
      record('builds/site');
      await tell(scripts('tell'), { ...env, GITHUB_EVENT_PATH: event });
      expect(told(/statuses\/abab/, 'state')).toEqual(['pending', 'failure']);
      expect(told(/check-runs/, 'status')).toEqual(['in_progress', 'completed']);
      expect(told(/issues\/4\/comments/, 'body')).toHaveLength(2);
      expect(read('site/junit.xml')).toContain('failures="1"');
      // Nothing was to be built: the job of before left nothing.
      rmSync(join(at, 'builds'), { recursive: true });
      mkdirSync(join(at, 'builds'));
      await tell(scripts('tell'), { ...env, GITHUB_EVENT_PATH: event });
      expect(told(/statuses\/abab/, 'state').at(-1)).toBe('success');
      record('.stackwright/site');
      const [before = '', after = ''] = scripts('build').filter((text) => text.includes(' report '));
      for (const text of [before, after]) await tell([text], env);
      expect(told(/statuses\/cdcd/, 'state')).toEqual(['pending', 'failure']);
    });

    it('at GitLab, of one pipeline from its start to the end of its child', async () => {
      const { generate, build, 'merge-request': proposed } = parse(read('site/.gitlab-ci.yml'));
      const { ci } = parse(read('site/spack.yaml')).spack;
      const reindex = ci['pipeline-gen'].find((one: object) => 'reindex-job' in one)['reindex-job'];
      const env = {
        CI_API_V4_URL: `${url}/api/v4`,
        CI_PROJECT_ID: '12',
        CI_COMMIT_SHA: 'ef'.repeat(20),
        CI_PIPELINE_ID: '7',
        GITLAB_TOKEN: 'token',
      };
      await tell(generate.script, env);
      record('jobs_scratch_dir/logs');
      // The child reports as its parent.
      expect(build.variables).toEqual({ PARENT_PIPELINE_ID: '$CI_PIPELINE_ID' });
      expect(reindex.after_script.join()).toContain(
        `CI_PIPELINE_ID="\${PARENT_PIPELINE_ID:-$CI_PIPELINE_ID}" `,
      );
      await tell(reindex.after_script, env);
      expect(told(/statuses/, 'state')).toEqual(['pending', 'failed']);
      expect(told(/statuses/, 'pipeline_id')).toEqual([7, 7]);
      // A merge request has no token: its result is a file.
      rmSync(join(at, 'junit.xml'));
      record('.stackwright/site');
      await tell(proposed.after_script, {});
      expect(read(`site/${proposed.artifacts.reports.junit}`)).toContain('failures="1"');
      expect(generate.environment.name).toBe(reindex.environment.name);
    });

    it('after all builds of a pipeline that is generated, also failed ones', async () => {
      expect(
        await call(['generate', at, '--no-prune-dag', '--stale', '--output', 'p.yml'], { cwd: at }),
      ).toMatchObject({ code: 0 });
      expect(parse(read('site/p.yml'))['rebuild-index']).toMatchObject({
        when: 'always',
        environment: { name: 'report' },
        after_script: [expect.stringContaining('report . --collect jobs_scratch_dir')],
        artifacts: { reports: { junit: 'junit.xml' } },
      });
    });
  });

  it('writes a pipeline for GitLab whose merge requests use no variable of the project', async () => {
    await run('init', 'site', '--mirror', 's3://b/site');
    const text = read('site/.gitlab-ci.yml');
    const { 'merge-request': proposed, ...pipeline } = parse(text);
    expect(proposed.rules).toEqual([{ if: '$CI_PIPELINE_SOURCE == "merge_request_event"' }]);
    expect(proposed.artifacts.expire_in).toBe('1 week');
    for (const job of ['generate', 'build', 'sign', 'publish-image']) {
      expect(JSON.stringify(pipeline[job].rules)).not.toContain('merge_request');
    }
    const scopes = Object.entries<{ environment?: unknown }>(pipeline).flatMap(([name, job]) =>
      job.environment ? [[name, job.environment]] : [],
    );
    expect(scopes).toEqual([
      ['generate', { name: 'report', action: 'access' }],
      ['sign', 'release'],
    ]);
    expect(text).toMatch(/SPACK_SIGNING_KEY: masked, protected, environment scope "release"/);
  });

  it("writes a job that signs what builders left: only what the lock names, and what is the lock's", async () => {
    const at = join(folder, 'site');
    const [staging, release] = [join(folder, 'site-mirror-staging'), join(folder, 'site-mirror')];
    await run('init', 'site', '--mirror', release);
    await call(['key', 'create', 'CI', '-o', 'ci.key', '--public', 'keys/ci.pub'], { cwd: at });
    for (const file of ['spack.lock', 'spack.yaml', 'spack_repo'])
      cpSync(join(quickstart, file), join(at, file), { recursive: true });
    cpSync(join(quickstart, 'mirror'), staging, { recursive: true });
    const { sign } = parse(read('site/.gitlab-ci.yml'));
    const env = { PATH: process.env.PATH, HOME: folder, SPACK_SIGNING_KEY: read('site/ci.key') };
    const notary = async () => {
      let said = '';
      for (const line of sign.script as string[]) {
        const args = line
          .replace(/^npx --yes stackwright@\S+ /, '')
          .replace('"$STACK_STAGING"', staging)
          .replace('"$STACK_RELEASE"', release);
        const { code, stdout, stderr } = await call(args.split(' '), { cwd: at, env });
        said += stdout + stderr;
        if (code !== 0) return { code, said };
      }
      return { code: 0, said };
    };
    const first = await notary();
    expect(first).toMatchObject({ code: 0, said: expect.stringMatching(/(\d+) packages copied/) });
    // Builders leave only what was missing: all else is in the release mirror.
    rmSync(join(staging, 'v3/manifests/spec/hello-static'), { recursive: true });
    expect(await notary()).toMatchObject({ code: 0, said: expect.stringMatching(/^0 packages copied/m) });
    // One package in the place of another.
    rmSync(release, { recursive: true });
    const specs = join(staging, 'v3/manifests/spec');
    const manifestOf = (name: string) => {
      const file = readdirSync(join(specs, name)).find((one) => one.endsWith('.json'));
      return join(specs, name, file ?? '');
    };
    cpSync(manifestOf('libchorus'), manifestOf('libgreet'));
    const forged = await notary();
    expect(forged.code).not.toBe(0);
    expect(existsSync(join(release, 'v3/manifests/spec/libgreet'))).toBe(false);
  });

  const actionlint = findProgram('actionlint');
  it.skipIf(!actionlint)(
    'writes a GitHub workflow that passes actionlint (go install github.com/rhysd/actionlint/cmd/actionlint@latest)',
    async () => {
      await run('init', 'site');
      const file = join(folder, 'site/.github/workflows/stack.yml');
      const { stdout, status } = spawnSync(actionlint!, [file], { encoding: 'utf8' });
      expect({ stdout, status }).toEqual({ stdout: '', status: 0 });
    },
  );

  it('writes a pipeline that can be generated, for every kind of mirror, with a key made as its README says', async () => {
    cpSync(quickstart, join(folder, 'concrete'), { recursive: true });
    for (const mirror of [
      undefined,
      's3://bucket/site',
      'oci://registry.example.org/me/site',
      '/srv/mirror',
    ]) {
      const at = join(folder, 'my tools');
      rmSync(at, { recursive: true, force: true });
      const init = await run('init', 'my tools', ...(mirror ? ['--mirror', mirror] : []));
      expect(init.code).toBe(0);
      const [, make = ''] = /`stackwright (key create [^`]+)`/.exec(read('my tools/README.md')) ?? [];
      expect(await call(make.split(' '), { cwd: at })).toMatchObject({ code: 0 });
      // A lock of other packages serves, which has to be said: what the pipeline needs to know is in the manifest.
      cpSync(join(quickstart, 'spack.lock'), join(at, 'spack.lock'));
      if (mirror === undefined || mirror.startsWith('/')) {
        const env = { PATH: process.env.PATH, HOME: folder };
        expect(await call(['generate', at, '--no-prune-dag', '--stale'], { cwd: folder, env })).toMatchObject(
          {
            code: 0,
          },
        );
        const { findings } = JSON.parse((await call(['doctor', at, '--json'], { env })).stdout);
        const bad = findings.filter(
          ({ what, state }: { what: string; state: string }) =>
            state === 'problem' && what.startsWith('mirror'),
        );
        expect(bad).toEqual([]);
      }
      const { signed } = parse(read('my tools/spack.yaml')).spack.mirrors['buildcache-destination'];
      // What builders push to has no signatures, once there is one for users beside it.
      expect(signed).toBe(mirror === undefined);
    }
  });

  it('lets git commit neither the key that its README or doctor tells to make, nor what Spack leaves', async () => {
    await run('init', 'site');
    const at = join(folder, 'site');
    const git = (...args: string[]) => execFileSync('git', args, { cwd: at, encoding: 'utf8' });
    git('init', '--quiet');
    await call(['key', 'create', 'CI', '-o', 'ci.key', '--public', 'keys/ci.pub'], { cwd: at });
    await call(['key', 'create', 'CI', '-o', 'key'], { cwd: at });
    mkdirSync(join(at, '.spack-env'));
    writeFileSync(join(at, '.spack-env/transaction_lock'), '');
    git('add', '-A');
    const added = git('diff', '--cached', '--name-only').split('\n');
    expect(added).toContain('keys/ci.pub');
    expect(added.filter((file) => /key$|spack-env/.test(file))).toEqual([]);
  });

  it('adopts a stack that is there: only what is absent is written', async () => {
    writeFileSync(join(folder, 'spack.yaml'), 'spack: {specs: [tcl]}\n');
    writeFileSync(join(folder, 'README.md'), 'mine');
    const { code, stdout } = await run('init', '.', '--name', 'site');
    expect(code).toBe(0);
    expect([read('spack.yaml'), read('README.md')]).toEqual(['spack: {specs: [tcl]}\n', 'mine']);
    expect(stdout.split('\n')).toEqual(expect.arrayContaining(['stackwright.yaml', '.gitlab-ci.yml']));
    expect(stdout).not.toContain('spack.yaml\n');
  });

  it('adopts a stack from another folder or a repository', async () => {
    const source = join(folder, 'source');
    cpSync(quickstart, source, { recursive: true });
    const git = (...args: string[]) =>
      execFileSync('git', ['-C', source, '-c', 'user.name=a', '-c', 'user.email=a@b.c', ...args]);
    git('init', '--quiet');
    git('add', '--all', '--force');
    git('commit', '--quiet', '-m', 'x');
    for (const from of ['source', `file://${source}`]) {
      rmSync(join(folder, 'site'), { recursive: true, force: true });
      expect(await run('init', 'site', '--from', from)).toMatchObject({ code: 0 });
      for (const file of ['spack.yaml', 'spack.lock', 'stackwright.yaml', 'README.md'])
        expect(read(`site/${file}`)).toBe(read(`source/${file}`));
      expect(existsSync(join(folder, 'site/.git'))).toBe(false);
      expect(existsSync(join(folder, 'site/.gitlab-ci.yml'))).toBe(true);
    }
    expect(await run('init', 'other', '--from', 'nowhere')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('nowhere is not a stack'),
    });
  });

  it('replaces nothing, and writes nothing then', async () => {
    writeFileSync(join(folder, 'README.md'), 'mine');
    const { code, stderr } = await run('init', '.', '--name', 'x');
    expect({ code, stderr }).toEqual({
      code: 2,
      stderr: expect.stringContaining('. has README.md already.'),
    });
    expect(readdirSync(folder)).toEqual(['README.md']);
  });

  it.each([
    ['a name', ['--name', 'a b'], 'no name for a stack'],
    ['a spec', ['--spec', 'zlib@@'], 'Unexpected character'],
  ])('refuses %s that is none', async (_what, args, message) => {
    const { code, stderr } = await run('init', 'x', ...args);
    expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining(message) });
    expect(readdirSync(folder)).toEqual([]);
  });
});
