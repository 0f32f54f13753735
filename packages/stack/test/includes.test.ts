import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findingsOf, type IncludeRule, openStack } from '../src/index.js';
import { callerIn } from './caller.js';

let home: string;
let server: Server | undefined;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'includes-'));
});
afterEach(async () => {
  await new Promise((done) => (server ? server.close(done) : done(undefined)));
  server = undefined;
  rmSync(home, { recursive: true, force: true });
});

const config = (jobs: number) => `config: {build_jobs: ${jobs}}\n`;
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');

/** Serves a text at every path; the addresses that were asked for go to `asked`. */
async function serve(text: string) {
  const asked: string[] = [];
  const started = createServer((request, response) => {
    asked.push(request.url ?? '');
    response.end(text);
  });
  server = started;
  await new Promise<void>((resolve) => started.listen(0, '127.0.0.1', resolve));
  return { asked, url: `http://127.0.0.1:${(started.address() as AddressInfo).port}` };
}

/** A repository with one file of configuration, on the branch `main`. */
function repository() {
  const folder = join(home, 'repository');
  const git = (...args: string[]) =>
    execFileSync('git', ['-C', folder, '-c', 'user.name=t', '-c', 'user.email=t@t', ...args], {
      encoding: 'utf8',
    }).trim();
  mkdirSync(folder);
  git('init', '--quiet', '--initial-branch=main');
  const commit = (jobs: number) => {
    writeFileSync(join(folder, 'config.yaml'), config(jobs));
    git('add', '--all');
    git('commit', '--quiet', '-m', 'x');
    return git('rev-parse', 'HEAD');
  };
  return { folder, git, commit };
}

/** What the included configuration sets, of a stack that includes something. */
async function read(include: string, includes: IncludeRule = 'fetch') {
  const folder = join(home, 'stack');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'spack.yaml'), `spack:\n  include:\n  - ${include}\n  specs: []\n`);
  const caller = callerIn(home);
  const environment = await (await openStack(caller, folder, { includes })).environment();
  return { config: environment.config.config, notes: caller.notes };
}
const kept = (kind: string) => readdirSync(join(home, '.cache/stackwright/include', kind));

describe('an include by URL', () => {
  it('is fetched once, checked, and read from the cache from then on', async () => {
    const { url, asked } = await serve(config(3));
    const include = `{path: '${url}/config.yaml', sha256: ${sha256(config(3))}}`;
    expect((await read(include)).config).toEqual({ build_jobs: 3 });
    expect((await read(include, 'offline')).config).toEqual({ build_jobs: 3 });
    expect((await read(include)).config).toEqual({ build_jobs: 3 });
    expect(asked).toEqual(['/config.yaml']);
    writeFileSync(join(home, '.cache/stackwright/include/sha256', sha256(config(3))), 'harmed');
    expect((await read(include)).config).toEqual({ build_jobs: 3 });
  });

  it('is refused, and not kept, where its checksum is another', async () => {
    const { url } = await serve(config(4));
    await expect(read(`{path: '${url}/x.yaml', sha256: ${sha256(config(3))}}`)).rejects.toThrow(
      /spack\.yaml:3:12: The included .* has the checksum/,
    );
    expect(() => kept('sha256')).toThrow('ENOENT');
  });

  it('is not fetched offline or by check, which says so', async () => {
    const { url, asked } = await serve(config(3));
    const include = `{path: '${url}/x.yaml?token=s3cret', sha256: ${sha256(config(3))}}`;
    await expect(read(include, 'offline')).rejects.toMatchObject({
      code: 'not-cached',
      kind: 'missing',
      message: expect.stringMatching(/spack\.yaml:3:12: The included http:.*x\.yaml\?… is not in the cache/),
    });
    const { config: nothing, notes } = await read(include, 'cached');
    expect([nothing, notes]).toEqual([undefined, [expect.stringContaining('left out')]]);
    const findings = await findingsOf(join(home, 'stack'), { env: { HOME: home } });
    expect(findings.map(({ code }) => code)).toEqual(['remote-include']);
    expect(asked).toEqual([]);
  });

  it('that a server refuses ends the work with its place', async () => {
    await expect(read(`{path: 'http://127.0.0.1:9/x.yaml', sha256: ${sha256('')}}`)).rejects.toMatchObject({
      code: 'not-fetched',
      kind: 'missing',
      message: expect.stringContaining('spack.yaml:3:12'),
    });
  }, 60_000);
});

describe('an include by git', () => {
  it('is read at its commit, whatever the branch has by now, and kept', async () => {
    const { folder, commit } = repository();
    const first = commit(1);
    commit(2);
    const include = `{git: 'file://${folder}', commit: ${first}, paths: [config.yaml]}`;
    expect((await read(include)).config).toEqual({ build_jobs: 1 });
    rmSync(folder, { recursive: true });
    expect((await read(include)).config).toEqual({ build_jobs: 1 });
    expect(kept('git')).toEqual([first]);
  });

  it('follows a branch, and offline stays at what it was last', async () => {
    const { folder, commit } = repository();
    const include = `{git: 'file://${folder}', branch: main, paths: [config.yaml]}`;
    const first = commit(1);
    await expect(read(include, 'offline')).rejects.toThrow(/at main is not in the cache/);
    expect((await read(include)).config).toEqual({ build_jobs: 1 });
    const second = commit(2);
    expect((await read(include, 'offline')).config).toEqual({ build_jobs: 1 });
    expect((await read(include)).config).toEqual({ build_jobs: 2 });
    expect((await read(include, 'cached')).config).toEqual({ build_jobs: 2 });
    expect(kept('git').sort()).toEqual([first, second].sort());
  });

  it('takes the commit that an annotated tag stands for', async () => {
    const { folder, commit, git } = repository();
    const first = commit(1);
    git('tag', '-a', 'v1', '-m', 'one');
    commit(2);
    const { config: found } = await read(`{git: 'file://${folder}', tag: v1, paths: [config.yaml]}`);
    expect([found, kept('git')]).toEqual([{ build_jobs: 1 }, [first]]);
  });

  it.each([
    ['a branch that is not there', 'branch: nope', /no such branch or tag/],
    ['a commit that is not there', `commit: ${'a'.repeat(40)}`, /could not be read at aaaa/],
  ])('is refused for %s', async (_what, ref, message) => {
    const { folder, commit } = repository();
    commit(1);
    const refused = read(`{git: 'file://${folder}', ${ref}, paths: [config.yaml]}`);
    await expect(refused).rejects.toMatchObject({ code: 'not-fetched', kind: 'missing' });
    await expect(refused).rejects.toThrow(message);
  });

  it('is refused where a link leads out of the repository', async () => {
    const { folder, commit } = repository();
    symlinkSync('/etc/passwd', join(folder, 'packages.yaml'));
    const first = commit(1);
    await expect(read(`{git: 'file://${folder}', commit: ${first}, paths: [packages.yaml]}`)).rejects.toThrow(
      'its link packages.yaml leads out of it',
    );
    expect(kept('git')).toEqual([]);
  });
});
