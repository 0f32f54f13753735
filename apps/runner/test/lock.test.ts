import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { call } from './call.js';

const quickstart = fileURLToPath(new URL('../../../stacks/quickstart', import.meta.url));
let folder: string;
let stack: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lock-'));
  stack = join(folder, 'stack');
  cpSync(quickstart, stack, { recursive: true, filter: (path) => !/\/(mirror|sources)$/.test(path) });
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const run = (...args: string[]) =>
  call(args, { env: { HOME: folder, PATH: process.env.PATH ?? '' }, cwd: folder });

interface RawNode {
  readonly name: string;
  version: string;
  readonly parameters: Record<string, unknown>;
  readonly dependencies: unknown[];
}

function editNode(name: string, change: (node: RawNode) => void): string {
  const file = join(stack, 'spack.lock');
  const lock = JSON.parse(readFileSync(file, 'utf8')) as { concrete_specs: Record<string, RawNode> };
  const [hash, node] = Object.entries(lock.concrete_specs).find(([, one]) => one.name === name) ?? [];
  if (!node || !hash) throw new Error(`no ${name}`);
  change(node);
  writeFileSync(file, JSON.stringify(lock));
  return `${name}@${node.version}/${hash}`;
}

const edits: [string, string, (node: RawNode) => void][] = [
  ['a changed variant', 'libgreet', (node) => Object.assign(node.parameters, { shared: false })],
  ['a changed edge', 'chorus', (node) => node.dependencies.pop()],
  ['a changed version', 'hello', (node) => Object.assign(node, { version: '2.0.1' })],
];

describe('a lock that was edited by hand', () => {
  it.each(edits)(
    'is an error of check, refused by what builds it, and told by what plans: %s',
    async (_what, name, change) => {
      const node = editNode(name, change);
      const checked = await run('check', 'stack');
      expect([checked.code, checked.stdout]).toEqual([
        2,
        expect.stringContaining(`error: ${node} was changed`),
      ]);
      for (const command of ['run', 'image build']) {
        const { code, stderr } = await run(...command.split(' '), 'stack');
        expect([command, code, stderr]).toEqual([command, 2, expect.stringContaining(`${node} was changed`)]);
      }
      // What only plans says so and goes on.
      for (const command of ['generate', 'graph']) {
        const { code, stderr } = await run(command, 'stack');
        expect([command, code, stderr]).toEqual([
          command,
          0,
          expect.stringContaining(`${node} changed after`),
        ]);
      }
    },
  );
});

describe('a lock that is stale', () => {
  const addRoot = () => {
    const file = join(stack, 'spack.yaml');
    writeFileSync(file, readFileSync(file, 'utf8').replace('- hello-static', '- hello-static\n    - hello'));
  };

  it.each(['generate', 'run'])('ends %s, with the place of the root', async (command) => {
    addRoot();
    const { code, stderr } = await run(command, 'stack');
    expect([code, stderr]).toEqual([
      2,
      expect.stringMatching(/spack\.yaml:6:7: "hello" is not in spack\.lock.*\n.*concretize.*\n.*--stale/),
    ]);
  });

  it('is told by graph and rebuild, and by generate that is to go on', async () => {
    addRoot();
    const warning = /^Warning: .*spack\.yaml:6:7: "hello" is not in spack\.lock/m;
    expect(await run('graph', 'stack')).toMatchObject({ code: 0, stderr: expect.stringMatching(warning) });
    expect((await run('generate', 'stack', '--stale')).stderr).toMatch(warning);
    const rebuilt = await run(
      'rebuild',
      'stack',
      '--hash',
      'hocoygz',
      '--unsigned',
      '--mirror',
      join(quickstart, 'mirror'),
    );
    expect(rebuilt.stderr).toMatch(warning);
  });
});

const hasSpack = (() => {
  try {
    return execFileSync('spack', ['--version'], { encoding: 'utf8' }).startsWith('1.');
  } catch {
    return false;
  }
})();

describe.skipIf(!hasSpack)('concretize (skipped without Spack 1.x on PATH)', () => {
  it('writes what the lock was made from, Spack and its own recipes included', async () => {
    const done = await run('concretize', 'stack', '--force');
    expect([done.code, done.stderr]).toEqual([0, expect.any(String)]);
    const origin = JSON.parse(readFileSync(join(stack, 'stackwright.lock'), 'utf8'));
    expect(origin.spack.version).toMatch(/^1\./);
    expect(Object.keys(origin.recipes)).toEqual(['builtin', 'quickstart']);
    expect(origin.recipes.builtin.packages['compiler-wrapper']).toMatch(/^[0-9a-f]{40}$/);
    expect((await run('check', 'stack')).stdout).not.toContain('since spack.lock');
    const recipe = join(stack, 'spack_repo/quickstart/packages/hello/package.py');
    writeFileSync(recipe, `${readFileSync(recipe, 'utf8')}\n`);
    expect((await run('graph', 'stack')).stderr).toContain('Warning: The recipe of hello in the repository');
  }, 120_000);
});
