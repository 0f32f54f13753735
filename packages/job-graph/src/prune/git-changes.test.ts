import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { changedPackages, stackChanged } from './git-changes.js';

describe('what the last commit changed', () => {
  let root: string;
  const git = (...args: string[]) =>
    execFileSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@t', '-C', root, ...args], {
      stdio: 'pipe',
    });
  const write = (path: string, text: string) => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  };
  const recipes = () => join(root, 'repos/spack_repo/mine');
  beforeAll(() => {
    root = mkdtempSync(join(tmpdir(), 'changes-'));
    git('init', '--quiet');
    for (const name of ['zlib', 'py_numpy', '_7zip', 'gone'])
      write(`repos/spack_repo/mine/packages/${name}/package.py`, '1');
    write('stacks/a/spack.yaml', '1');
    git('add', '--all');
    git('commit', '--quiet', '-m', 'one');
    write('repos/spack_repo/mine/packages/py_numpy/fix.patch', '2');
    write('repos/spack_repo/mine/packages/_7zip/package.py', '2');
    write('repos/spack_repo/mine/packages/new/package.py', '2');
    rmSync(join(root, 'repos/spack_repo/mine/packages/gone'), { recursive: true });
    git('add', '--all');
    git('commit', '--quiet', '-m', 'two');
  });
  afterAll(() => rmSync(root, { recursive: true, force: true }));

  it('names packages that were added, removed or changed in any file', async () => {
    expect([...(await changedPackages(recipes()))!].sort()).toEqual(['7zip', 'gone', 'new', 'py-numpy']);
  });

  it('knows that a stack did not change, until it does', async () => {
    expect(await stackChanged(join(root, 'stacks/a'))).toBe(false);
    write('stacks/a/spack.yaml', '2');
    git('commit', '--quiet', '--all', '-m', 'three');
    expect(await stackChanged(join(root, 'stacks/a'))).toBe(true);
    expect(await changedPackages(recipes())).toEqual(new Set());
  });

  it('tells a folder outside of any checkout from one without changes', async () => {
    const outside = mkdtempSync(join(tmpdir(), 'outside-'));
    expect(await changedPackages(outside)).toBeUndefined();
    rmSync(outside, { recursive: true });
  });

  it('refuses a revision that a shallow clone does not have', async () => {
    await expect(changedPackages(recipes(), { from: 'HEAD~9', to: 'HEAD' })).rejects.toThrowError(
      /has no revision HEAD~9/,
    );
  });
});
