import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { main } from '../main.js';

const stack = fileURLToPath(new URL('../../../../stacks/quickstart', import.meta.url));

async function run(...args: string[]) {
  const said = { stdout: '', stderr: '' };
  const sink = (name: 'stdout' | 'stderr') =>
    new Writable({
      write(chunk, _encoding, done) {
        said[name] += String(chunk);
        done();
      },
    });
  const code = await main(args, { stdout: sink('stdout'), stderr: sink('stderr'), env: {}, cwd: stack });
  return { code, ...said };
}

type Node = {
  hash: string;
  name: string;
  dependencies: string[];
  action: string;
  reason: string;
  level: number;
};

describe('graph', () => {
  it('prints every node as the contract says', async () => {
    const { stdout, code } = await run('graph', stack, '--json');
    const { nodes } = JSON.parse(stdout) as { nodes: Node[] };
    expect(code).toBe(0);
    expect(nodes).toHaveLength(12);
    expect(Object.keys(nodes[0]!)).toEqual(
      'hash name version spec root external dependencies action reason level'.split(' '),
    );
    const level = new Map(nodes.map((node) => [node.hash, node.level]));
    for (const node of nodes)
      for (const hash of node.dependencies) expect(level.get(hash)!).toBeLessThanOrEqual(node.level);
  });

  it('leaves out what a mirror has', async () => {
    const { stdout } = await run('graph', '.', '--json', '--mirror', 'mirror');
    const { nodes } = JSON.parse(stdout) as { nodes: Node[] };
    expect(nodes.filter((node) => node.action === 'build')).toEqual([]);
    expect(nodes.find((node) => node.name === 'libgreet')!.reason).toBe(
      `up to date on file://${stack}/mirror`,
    );
  });

  it('says that a mistyped address is no mirror', async () => {
    const { stderr, code } = await run('graph', '.', '--mirror', 'nosuch');
    expect(code).not.toBe(0);
    expect(stderr).toMatch(/nosuch is no mirror/);
    const { stdout } = await run('graph', '.', '--json', '--mirror', 'mirror');
    expect(stdout).toContain('up to date on');
  });

  it('builds only what is asked for', async () => {
    const { stdout } = await run('graph', '.', '--only', 'libgreet,chorus', '--skip', 'chorus');
    expect(stdout).toMatch(/\[x\].*libgreet@.*chosen by --only/);
    expect(stdout).toMatch(/^1 to build in 1 stage,/m);
  });

  it('refuses a name that is not in the lock', async () => {
    const { code, stderr } = await run('graph', '.', '--only', 'nothing');
    expect(code).toBe(2);
    expect(stderr).toMatch(/nothing: no spec of the lock matches/);
  });

  it.each([
    ['dot', /^digraph jobs/],
    ['mermaid', /^flowchart LR/],
    ['html', /^<!doctype html>/],
  ])('prints %s', async (format, text) => {
    expect((await run('graph', '.', '--format', format)).stdout).toMatch(text);
  });
});

describe('simulate', () => {
  it('prints a row for each number of runners, and which is worth it', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'simulate-'));
    writeFileSync(join(folder, 'times.json'), '{"libgreet": 100, "compiler-wrapper": 10}');
    const args = [
      'simulate',
      '.',
      '--history',
      join(folder, 'times.json'),
      '--runners',
      '1,4',
      '--price',
      '1',
    ];
    const { stdout } = await run(...args);
    expect(stdout).toMatch(/^9 jobs/);
    expect(stdout).toMatch(/^ +1 /m);
    expect(stdout).toMatch(/4 runners are worth it/);
    const { forecasts, worthwhile } = JSON.parse((await run(...args, '--json')).stdout);
    expect(forecasts).toHaveLength(2);
    expect(worthwhile).toBe(4);
    await run(...args, '--format', 'html', '--output', join(folder, 'page.html'));
    expect(readFileSync(join(folder, 'page.html'), 'utf8')).toMatch(/How many runners are worth it/);
    rmSync(folder, { recursive: true });
  });

  it.each([[['--runners', '0']], [['--failure-rate', 'x']], [['--failure-rate', '2']]])(
    'refuses %j',
    async (args) => {
      expect((await run('simulate', '.', ...args)).code).toBe(2);
    },
  );
});
