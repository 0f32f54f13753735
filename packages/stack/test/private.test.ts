import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { includeFetcher, openStack, openWork } from '../src/index.js';
import { callerIn } from './caller.js';

let root: string;
let before: number;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'private-'));
  // As in many containers of CI.
  before = process.umask(0);
  mkdirSync(join(root, 'stack'));
  writeFileSync(join(root, 'stack/spack.yaml'), 'spack: {specs: []}\n');
});
afterEach(() => {
  process.umask(before);
  rmSync(root, { recursive: true, force: true });
});
const mode = (path: string) => (statSync(join(root, path)).mode & 0o777).toString(8);

describe('the work folder', () => {
  const open = async (option?: string) => {
    const caller = callerIn(root);
    return openWork(caller, await openStack(caller, 'stack'), option);
  };

  it('is closed to others whatever the umask is', async () => {
    await open();
    expect([mode('.stackwright'), mode('.stackwright/stack')]).toEqual(['700', '700']);
  });

  it('is closed when it is there already', async () => {
    mkdirSync(join(root, 'work'), { mode: 0o777 });
    await open('work');
    expect(mode('work')).toBe('700');
  });

  it('is left as it is where it is the folder that the user works in', async () => {
    chmodSync(root, 0o755);
    await open('.');
    expect(mode('.')).toBe('755');
  });

  it.runIf(process.getuid?.() === 0)(
    'cannot be read by another user (skipped: only root can be another user)',
    async () => {
      chmodSync(root, 0o755);
      const work = await open();
      writeFileSync(work.result, 'x');
      const read = () =>
        execFileSync('setpriv', ['--reuid=65534', '--clear-groups', 'cat', work.result], { stdio: 'pipe' });
      expect(read).toThrow(/Permission denied/);
    },
  );
});

describe('the cache of includes', () => {
  const cache = () => join(root, '.cache/stackwright/include');
  const commit = '1'.repeat(40);
  const source = {
    url: 'https://git.invalid/x',
    branch: undefined,
    tag: undefined,
    commit,
    at: { line: 1, column: 1 },
  };
  const offline = () => includeFetcher({ HOME: root }, 'offline').git?.(source);

  it('is believed where only this user can write', async () => {
    mkdirSync(join(cache(), 'git', commit), { recursive: true });
    for (const path of ['', 'git', `git/${commit}`]) chmodSync(join(cache(), path), 0o755);
    expect(await offline()).toBe(join(cache(), 'git', commit));
    expect(mode('.cache/stackwright/include')).toBe('700');
  });

  it('is thrown away where others could write', async () => {
    mkdirSync(join(cache(), 'git', commit), { recursive: true, mode: 0o777 });
    await expect(offline()).rejects.toThrow(/is not in the cache/);
  });
});

describe('a stack that is carried to another repository from a pull request', () => {
  const carry = async (env: NodeJS.ProcessEnv) => {
    const { writeCarriedStack } = await import('../src/carried.js');
    const caller = callerIn(root, {
      PATH: '/usr/bin:/bin',
      HOME: root,
      CI_PROJECT_DIR: join(root, 'stack'),
      ...env,
    });
    writeFileSync(join(root, 'stack/spack.lock'), '{}');
    await writeCarriedStack(caller, await openStack(caller, 'stack'), join(root, 'copy'));
  };
  const pullRequest = { CI_MERGE_REQUEST_IID: '1' };
  beforeEach(() => writeFileSync(join(root, 'hidden.pub'), 'hidden'));

  it.each([
    ['a key outside of the checkout', 'trust: [../hidden.pub]\n', undefined],
    ['a link that leads out of it', 'trust: [link.pub]\n', undefined],
    ['recipes outside of it', undefined, 'spack: {specs: [], repos: [../recipes]}\n'],
  ])('brings along no file of the machine: %s', async (_what, settings, manifest) => {
    symlinkSync('../hidden.pub', join(root, 'stack/link.pub'));
    mkdirSync(join(root, 'recipes'));
    if (settings) writeFileSync(join(root, 'stack/stackwright.yaml'), settings);
    if (manifest) writeFileSync(join(root, 'stack/spack.yaml'), manifest);
    await expect(carry(pullRequest)).rejects.toThrow(/is outside of the checkout, and is not published/);
  });

  it('brings along what is in the checkout; on a branch, also what is elsewhere', async () => {
    writeFileSync(join(root, 'stack/own.pub'), 'own');
    writeFileSync(join(root, 'stack/stackwright.yaml'), 'trust: [own.pub]\n');
    await carry(pullRequest);
    expect(readFileSync(join(root, 'copy/own.pub'), 'utf8')).toBe('own');
    writeFileSync(join(root, 'stack/stackwright.yaml'), 'trust: [../hidden.pub]\n');
    await carry({});
    expect(readFileSync(join(root, 'copy/carried/1/hidden.pub'), 'utf8')).toBe('hidden');
  });
});
