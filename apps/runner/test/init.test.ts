import { execFileSync, spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readStackSettings } from '@stackwright/spack-env';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { call } from './call.js';

const quickstart = fileURLToPath(new URL('../../../stacks/quickstart', import.meta.url));
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'init-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));
/** A program on PATH, or where `go install` puts it. */
const findProgram = (name: string) =>
  [...(process.env.PATH ?? '').split(delimiter), join(homedir(), 'go/bin')]
    .map((path) => join(path, name))
    .find((path) => existsSync(path));
const run = (...args: string[]) => call(args, { cwd: folder });
const read = (file: string) => readFileSync(join(folder, file), 'utf8');

describe('stackwright init', () => {
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
      'buildcache-destination': { url: 's3://b/site', signed: true },
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
    ).toEqual(expect.arrayContaining(['generate', 'build', 'publish-image']));
  });

  it('writes a GitHub workflow that gives pull requests no secret', async () => {
    await run('init', 'site');
    const text = read('site/.github/workflows/stack.yml');
    type Job = { if: string; permissions: Record<string, string>; steps: { uses?: string; with?: object }[] };
    const workflow = parse(text) as { permissions: object; concurrency: object; jobs: Record<string, Job> };
    expect(workflow.permissions).toEqual({});
    expect(workflow.concurrency).toHaveProperty('group');
    const { check, publish } = workflow.jobs;
    expect(check).toMatchObject({
      if: "github.event_name == 'pull_request'",
      permissions: { contents: 'read' },
    });
    expect(JSON.stringify(check)).not.toContain('secrets.');
    expect(Object.values(check!.permissions)).not.toContain('write');
    expect(publish!.if).toBe("github.event_name == 'push'");
    expect(JSON.stringify(publish)).toContain('secrets.SPACK_SIGNING_KEY');
    for (const { uses, with: given } of [...check!.steps, ...publish!.steps]) {
      if (!uses) continue;
      expect(uses).toMatch(/@[0-9a-f]{40}$/);
      expect(given).toMatchObject({ 'persist-credentials': false });
    }
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
      expect(signed).toBe(!mirror?.startsWith('oci:'));
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
