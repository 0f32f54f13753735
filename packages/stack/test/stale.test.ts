import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findingsOf, openStack } from '../src/index.js';
import { originFile, writeOrigin } from '../src/stale/origin.js';
import { listedRepositories, rememberRepositories, treeHash } from '../src/stale/recipes.js';
import { tellStale } from '../src/stale/staleness.js';
import { callerIn } from './caller.js';

const quickstart = fileURLToPath(new URL('../../../stacks/quickstart', import.meta.url));
let folder: string;
let home: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'stale-'));
  folder = join(home, 'stack');
  cpSync(quickstart, folder, { recursive: true, filter: (path) => !/\/(mirror|sources)$/.test(path) });
});
afterEach(() => rmSync(home, { recursive: true, force: true }));

const caller = () => callerIn(home);
const edit = (path: string, change: (text: string) => string) => {
  const file = join(folder, path);
  writeFileSync(file, change(readFileSync(file, 'utf8')));
};
const recipe = (name: string) => `spack_repo/quickstart/packages/${name}/package.py`;

/** Writes down what the lock is made from, as `concretize` does. */
async function concretized() {
  const stack = await openStack(caller(), folder);
  await writeOrigin(caller(), await stack.environment(), await stack.lock(), '1.1.0');
}

/** What changed, without what is said of every lock with externals. */
async function changes(): Promise<string[]> {
  const found = await findingsOf(folder, { env: { HOME: home } });
  return found
    .filter(({ severity }) => severity !== 'note')
    .map(({ message, position }) => (position ? `${position.line}: ${message}` : message));
}

describe('what changed since a lock was written', () => {
  it('is nothing where nothing did, and what was seen is written in a stable form', async () => {
    await concretized();
    expect(await changes()).toEqual([]);
    const first = readFileSync(join(folder, originFile), 'utf8');
    await concretized();
    expect(readFileSync(join(folder, originFile), 'utf8')).toBe(first);
    const origin = JSON.parse(first);
    expect(origin).toMatchObject({ version: 1, spack: { version: expect.any(String) } });
    expect(Object.keys(origin.recipes.quickstart.packages)).toEqual(
      Object.keys(origin.recipes.quickstart.packages).sort(),
    );
    expect(first).not.toContain(home);
  });

  it('are recipes, by the names of their packages', async () => {
    await concretized();
    edit(recipe('libgreet'), (text) => `${text}\n# changed\n`);
    rmSync(join(folder, recipe('hello_static')));
    expect(await changes()).toEqual([
      expect.stringMatching(
        /^The recipes of hello-static, libgreet in the repository "quickstart" changed since/,
      ),
    ]);
  });

  it("are Spack's own recipes, where the last concretization on this machine found them", async () => {
    const builtin = join(home, 'builtin');
    mkdirSync(join(builtin, 'packages/compiler_wrapper'), { recursive: true });
    writeFileSync(join(builtin, 'repo.yaml'), 'repo: {namespace: builtin, api: v2.0}\n');
    writeFileSync(join(builtin, 'packages/compiler_wrapper/package.py'), '# one\n');
    await rememberRepositories(listedRepositories(`[+] builtin    v2.2    ${builtin}\n`), caller().env);
    await concretized();
    expect(await changes()).toEqual([]);
    writeFileSync(join(builtin, 'packages/compiler_wrapper/package.py'), '# two\n');
    expect(await changes()).toEqual([
      expect.stringContaining('The recipe of compiler-wrapper in the repository "builtin"'),
    ]);
    rmSync(builtin, { recursive: true });
    expect(await changes()).toEqual([]);
  });

  it('are settings, with their lines', async () => {
    await concretized();
    const lineOf = (text: string) =>
      readFileSync(join(folder, 'spack.yaml'), 'utf8')
        .split('\n')
        .findIndex((line) => line.includes(text)) + 1;
    edit('spack.yaml', (text) =>
      text
        .replace('- target=x86_64', '- target=x86_64_v3')
        .replace('reuse: false', 'reuse: true')
        .replace('    gmake:\n', '    zlib:\n      version: ["1.3"]\n    gmake:\n'),
    );
    expect(await changes()).toEqual([
      `${lineOf('reuse:')}: The setting concretizer:reuse changed since spack.lock was written.`,
      `${lineOf('require:')}: The setting packages:all:require changed since spack.lock was written.`,
      `${lineOf('version: [')}: The setting packages:zlib:version was added since spack.lock was written.`,
    ]);
    edit('spack.yaml', (text) => text.replace('    reuse: true\n', '').replace('x86_64_v3', 'x86_64'));
    expect((await changes())[0]).toBe(
      `${lineOf('unify:')}: The setting concretizer:reuse was removed since spack.lock was written.`,
    );
  });

  it('are not comments, the order of keys, or what has nothing to do with concretization', async () => {
    await concretized();
    edit('spack.yaml', (text) =>
      text
        .replace('    unify: true\n    reuse: false\n', '    # why\n    reuse: false\n    unify: true\n')
        .replace('retry: 1', 'retry: 2'),
    );
    expect(await changes()).toEqual([]);
  });

  it('are overrides of groups', async () => {
    cpSync(
      fileURLToPath(new URL('../../spack-env/fixtures/lock-7/spack.lock', import.meta.url)),
      join(folder, 'spack.lock'),
    );
    cpSync(
      fileURLToPath(new URL('../../spack-env/fixtures/lock-7/spack.yaml', import.meta.url)),
      join(folder, 'spack.yaml'),
    );
    await concretized();
    expect(await changes()).toEqual([]);
    edit('spack.yaml', (text) => text.replace("'%c=gcc@12'", "'%c=gcc@13'"));
    expect(await changes()).toEqual([
      '6: The setting [suite] packages changed since spack.lock was written.',
    ]);
  });

  it('are only roots where nothing was written down, or it is of another lock', async () => {
    edit(recipe('libgreet'), (text) => `${text}\n# changed\n`);
    expect(await changes()).toEqual([]);
    await concretized();
    edit(recipe('libgreet'), (text) => `${text}\n# changed\n`);
    edit(originFile, (text) => text.replace(/"roots": "\w+"/, '"roots": "0"'));
    expect(await changes()).toEqual([]);
  });

  it('are the concrete specs of another environment that is included', async () => {
    const other = join(home, 'other');
    mkdirSync(other);
    cpSync(join(quickstart, 'spack.lock'), join(other, 'spack.lock'));
    writeFileSync(join(other, 'spack.yaml'), 'spack: {specs: [quickstart-suite, hello-static]}\n');
    edit('spack.yaml', (text) => text.replace('spack:\n', 'spack:\n  include: [../other/spack.lock]\n'));
    expect(await changes()).toEqual([
      `1: spack.lock does not have the concrete specs of ${other}, which the manifest includes.`,
    ]);
    edit('spack.lock', (text) => {
      const lock = JSON.parse(text);
      const { roots, concrete_specs } = lock;
      return JSON.stringify({ ...lock, include_concrete: { [other]: { roots, concrete_specs } } });
    });
    expect(await changes()).toEqual([]);
    const { roots, ...lock } = JSON.parse(readFileSync(join(other, 'spack.lock'), 'utf8'));
    writeFileSync(join(other, 'spack.lock'), JSON.stringify({ ...lock, roots: roots.slice(1) }));
    expect(await changes()).toEqual([
      `1: The included environment ${other} was concretized again since spack.lock was written.`,
    ]);
  });

  it.each<[string, (text: string) => string, RegExp]>([
    [
      'missing',
      (text) => text.replace('- hello-static', '- hello-static\n    - hello'),
      /spack\.yaml:6:7: "hello" is not in spack\.lock/,
    ],
    [
      'gone',
      (text) => text.replace('    - hello-static\n', ''),
      /spack\.lock:\d+:\d+: spack\.lock still has "hello-static"/,
    ],
  ])('ends work where a root is %s, unless it is to go on', async (_what, change, message) => {
    edit('spack.yaml', change);
    const stack = await openStack(caller(), folder);
    const refused = tellStale(caller(), stack, { refuse: true });
    await expect(refused).rejects.toMatchObject({ code: 'stale-lock', kind: 'input' });
    await expect(refused).rejects.toThrow(message);
    const patient = caller();
    await tellStale(patient, stack, { refuse: true, stale: true });
    expect(patient.notes).toEqual([expect.stringMatching(message)]);
  });
});

describe('the hash of a recipe', () => {
  it('is the one of its git tree, without what Python leaves', async () => {
    const recipes = join(home, 'recipes');
    mkdirSync(join(recipes, 'a/patches'), { recursive: true });
    mkdirSync(join(recipes, 'a.b'));
    writeFileSync(join(recipes, 'a/package.py'), 'x\n');
    writeFileSync(join(recipes, 'a/patches/é.patch'), '');
    writeFileSync(join(recipes, 'a.b/run.sh'), '#!/bin/sh\n', { mode: 0o755 });
    writeFileSync(join(recipes, 'a-b'), 'y');
    symlinkSync('a/package.py', join(recipes, 'link'));
    const git = (...args: string[]) => execFileSync('git', ['-C', recipes, ...args], { encoding: 'utf8' });
    git('init', '--quiet');
    git('add', '--all');
    git('-c', 'user.name=t', '-c', 'user.email=t@t', 'commit', '--quiet', '-m', 'x');
    const tree = git('rev-parse', 'HEAD^{tree}').trim();
    rmSync(join(recipes, '.git'), { recursive: true });
    mkdirSync(join(recipes, 'a/__pycache__'));
    writeFileSync(join(recipes, 'a/__pycache__/package.pyc'), 'z');
    mkdirSync(join(recipes, 'empty'));
    expect(await treeHash(recipes)).toBe(tree);
    expect(await treeHash(join(recipes, 'nothing'))).toBeUndefined();
  });
});
