import { copyFileSync, cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { recordInstalled } from '../src/testing.js';
import { call } from './call.js';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'groups-'));
const stack = join(folder, 'stack');
const settings = join(stack, 'stackwright.yaml');
const plainSettings = readFileSync(join(root, 'stacks/quickstart/stackwright.yaml'), 'utf8');
const tools = ['gcc-runtime', 'hello-static', 'libgreet'];

/** The quickstart in two groups: "tools" needs "suite", whose roots it builds with. */
beforeAll(() => {
  cpSync(join(root, 'stacks/quickstart'), stack, { recursive: true });
  copyFileSync(join(root, 'packages/spack-env/fixtures/lock-7/spack.lock'), join(stack, 'spack.lock'));
  const manifest = readFileSync(join(stack, 'spack.yaml'), 'utf8');
  writeFileSync(
    join(stack, 'spack.yaml'),
    manifest.replace(
      '    - quickstart-suite\n    - hello-static\n',
      '    - {group: suite, specs: [quickstart-suite]}\n    - {group: tools, needs: [suite], specs: [hello-static]}\n',
    ),
  );
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const run = (...args: string[]) =>
  call(args, { env: { HOME: folder, PATH: process.env.PATH ?? '' }, cwd: folder });
const names = (nodes: readonly { name: string }[]) => [...new Set(nodes.map(({ name }) => name))].sort();

async function inImage(...more: string[]): Promise<string[]> {
  const bill = join(folder, 'bill.json');
  const { code, stderr } = await run('image', 'build', 'stack', '--sbom', bill, '-o', 'oci:image', ...more);
  expect([code, stderr]).toEqual([0, expect.any(String)]);
  const packages: { name: string }[] = JSON.parse(readFileSync(bill, 'utf8')).packages;
  return names(packages.filter(({ name }) => name !== 'stack'));
}

describe('--group', () => {
  it('chooses the specs of groups', async () => {
    expect((await run('specs', 'stack', '--group', 'tools')).stdout).toBe('hello-static\n');
    expect((await run('specs', 'stack', '--group', 'tools', '--group', 'suite')).stdout).toBe(
      'quickstart-suite\nhello-static\n',
    );
  });

  it('keeps what a group needs in the graph', async () => {
    const graph = async (...more: string[]) =>
      names(JSON.parse((await run('graph', 'stack', '--json', ...more)).stdout).nodes);
    expect(await graph()).toContain('chorus');
    expect(await graph('--group', 'tools')).toEqual([
      'compiler-wrapper',
      'gcc',
      'gcc-runtime',
      'glibc',
      'gmake',
      'hello-static',
      'libgreet',
    ]);
  });

  it('keeps it in the pipeline', async () => {
    const { code, stderr } = await run('generate', 'stack', '--no-prune-dag', '--group', 'tools');
    expect([code, stderr]).toEqual([0, expect.stringContaining('4 of 7 specs to build')]);
  });

  it('bounds what a job may build', async () => {
    const { code, stderr } = await run('rebuild', 'stack', '--group', 'tools', '--hash', 'mzh2ynz');
    expect([code, stderr]).toEqual([2, expect.stringContaining('The lock has no package /mzh2ynz')]);
  });

  it.each(['specs', 'graph', 'generate', 'run', 'rebuild', 'image build'])(
    'is refused by %s where there is no such group, with those that there are',
    async (command) => {
      const { code, stderr } = await run(...command.split(' '), 'stack', '--group', 'apps');
      expect([code, stderr]).toEqual([
        2,
        expect.stringMatching(/has no group "apps"\.\s+It has suite, tools\./),
      ]);
    },
  );
});

describe('what a stack ships', () => {
  it('is in the image: the groups that no other needs, or those asked for', async () => {
    expect(await inImage()).toEqual(tools);
    expect(await inImage('--group', 'suite')).toContain('chorus');
    expect(await inImage('--group', 'suite', '--group', 'tools')).toContain('chorus');
  });

  it('is what stackwright.yaml says', async () => {
    writeFileSync(settings, plainSettings.replace('image:\n', 'image:\n  groups: [suite, tools]\n'));
    expect(await inImage()).toContain('chorus');
    expect(await inImage('--group', 'tools')).toEqual(tools);
    writeFileSync(settings, plainSettings.replace('image:\n', 'image:\n  groups: [apps]\n'));
    expect(await run('image', 'build', 'stack')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('no group "apps"'),
    });
    writeFileSync(settings, plainSettings);
  });

  it('is pushed', async () => {
    const mirror = join(stack, 'mirror');
    const tree = join(folder, 'tree');
    const key = join(stack, 'keys/quickstart.pub');
    const pulled = await run('mirror', 'pull', mirror, '--to', tree, '--trust', key, '--json');
    await recordInstalled(tree, mirror, JSON.parse(pulled.stdout).packages);
    const push = async (to: string, ...more: string[]) => {
      const { stdout } = await run(
        'mirror',
        'push',
        to,
        '--tree',
        tree,
        '--stack',
        'stack',
        '--unsigned',
        '--json',
        ...more,
      );
      return names(JSON.parse(stdout).packages);
    };
    // Nothing here is only needed to build and a root of the needed group.
    expect(await push('first')).toEqual(['compiler-wrapper', ...tools]);
    expect(await push('second', '--group', 'suite')).toContain('chorus');
    expect(await run('mirror', 'push', 'third', '--tree', tree, '--group', 'suite')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('no stack is given'),
    });
  });
});
