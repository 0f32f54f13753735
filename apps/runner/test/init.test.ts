import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readStackSettings } from '@stackwright/spack-env';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { call } from './call.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'init-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));
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
