import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { branchName, pushDownstream } from './downstream.js';

describe('pushDownstream', () => {
  let root: string;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'downstream-'));
    execFileSync('git', ['init', '--quiet', '--bare', join(root, 'repo.git')]);
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));
  const git = (...args: string[]) =>
    execFileSync('git', ['-C', join(root, 'repo.git'), ...args], { encoding: 'utf8' }).trim();
  const push = (files: Record<string, string>) =>
    pushDownstream({
      repository: join(root, 'repo.git'),
      branch: 'ci/mine',
      message: 'Pipeline',
      files: new Map(Object.entries(files)),
      folders: new Map([['env', join(root, 'env')]]),
    });
  const environment = (text: string) => {
    execFileSync('mkdir', ['-p', join(root, 'env')]);
    writeFileSync(join(root, 'env/spack.lock'), text);
  };

  it('makes the branch hold exactly the pipeline and its folders, and keeps its history', async () => {
    environment('1');
    await push({ '.gitlab-ci.yml': 'a', old: 'x' });
    const head = await push({ '.gitlab-ci.yml': 'b' });
    expect(git('rev-parse', 'ci/mine')).toBe(head);
    expect(git('ls-tree', '-r', '--name-only', 'ci/mine').split('\n')).toEqual([
      '.gitlab-ci.yml',
      'env/spack.lock',
    ]);
    expect(git('show', 'ci/mine:.gitlab-ci.yml')).toBe('b');
    expect(git('rev-list', '--count', 'ci/mine')).toBe('2');
  });

  it('commits nothing when nothing changed', async () => {
    environment('1');
    const first = await push({ '.gitlab-ci.yml': 'a' });
    expect(await push({ '.gitlab-ci.yml': 'a' })).toBe(first);
  });

  it('says what failed, without the password', async () => {
    environment('1');
    const failing = pushDownstream({
      repository: 'https://user:pass@127.0.0.1:1/x.git',
      branch: 'b',
      message: 'm',
      files: new Map(),
      folders: new Map(),
    });
    await expect(failing).rejects.toThrowError(/ls-remote .*\*\*\*@127/);
    await expect(failing).rejects.not.toThrowError(/pass@/);
  });
});

describe('branchName', () => {
  it.each([
    ['feature/a b', 'feature/a-b'],
    ['..x..', 'x'],
    ['', 'pipeline'],
  ])('makes %j to %j', (text, name) => expect(branchName(text)).toBe(name));
});
