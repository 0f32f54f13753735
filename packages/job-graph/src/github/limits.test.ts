import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { validateWorkflow } from '@action-validator/core';
import { parseLock } from '@stackwright/spack-env';
import { commitAll, findProgram } from '@stackwright/testing';
import { afterAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { inputOf } from '../engine/engines.test.support.js';
import { assemble, graphOf, type JobGraph } from '../graph/graph.js';
import { node, shared } from '../graph/graphs.test.support.js';
import { githubFiles, maximumBytes, maximumCalls } from './files.js';

const ci = {
  'pipeline-gen': [
    { 'build-job': { 'script:': ['stackwright rebuild'], variables: { CI_JOB_SIZE: 'default' } } },
  ],
};
const setup = { stackwright: { version: '0.1.0' }, spack: { ref: 'v1.1.0' } };

/** Several copies of a graph beside each other, with hashes of their own. */
function copies(of: JobGraph, count: number): JobGraph {
  const numbered = (hash: string, copy: number) => `${copy}${hash.slice(String(copy).length)}`;
  return assemble(
    Array.from({ length: count }).flatMap((_, copy) =>
      [...of.jobs.values()].map((job) => ({
        node: { ...job.node, hash: numbered(job.hash, copy), external: undefined },
        root: job.root,
        dependencies: job.dependencies.map((hash) => numbered(hash, copy)),
      })),
    ),
  );
}

/** Names and edges like those of a real stack: some packages that nearly all need, and chains. */
function invented(): JobGraph {
  const name = (at: number) => `py-package-${String(at).padStart(4, '0')}`;
  return assemble(
    Array.from({ length: 1146 }, (_, at) => ({
      node: node(name(at), { hash: `${String(at).padStart(4, '0')}${'a'.repeat(28)}`, version: '1.2.3' }),
      root: at > 1000,
      dependencies: [0, 1, 2, at - 1, at - 7, at >> 1]
        .filter((to) => to >= 0 && to < at)
        .filter((to, index, all) => all.indexOf(to) === index)
        .map((to) => `${String(to).padStart(4, '0')}${'a'.repeat(28)}`),
    })),
  );
}

const tutorial = join(shared, 'data/locks/tutorial/spack.lock');
const graphs: (readonly [string, () => JobGraph])[] = [['invented packages', invented]];
if (existsSync(tutorial)) {
  graphs.push([
    'six copies of the tutorial',
    () => copies(graphOf(parseLock(readFileSync(tutorial, 'utf8'))), 6),
  ]);
}

describe.each(graphs)('a workflow of 1,146 %s', (_name, make) => {
  const large = make();
  const folder = mkdtempSync(join(tmpdir(), 'github-limits-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const files = githubFiles(
    inputOf(large, ci, { setup, mirror: 's3://bucket/mirror', buildGroup: 'Large' }),
    { name: 'large', stack: 'stack' },
    '.github/workflows/large.yml',
  );
  const [calling, ...parts] = files.map((file) => ({ ...file, workflow: parse(file.text) }));

  it('is in files that GitHub starts, and in no more than it calls', () => {
    expect(large.jobs.size).toBe(1146);
    for (const { text } of files) {
      expect(Buffer.byteLength(text)).toBeLessThanOrEqual(maximumBytes);
      expect(validateWorkflow(text).errors).toEqual([]);
    }
    expect(parts.length).toBeGreaterThan(1);
    expect(parts.length).toBeLessThanOrEqual(maximumCalls);
    expect(Object.keys(calling!.workflow.jobs)).toHaveLength(parts.length + 1);
  });

  it('is the whole graph, each job once and after all that it depends on', () => {
    type Jobs = Record<string, { needs?: string[]; env: Record<string, string> }>;
    const part = new Map<string, number>();
    for (const [at, { workflow }] of parts.entries()) {
      const jobs = workflow.jobs as Jobs;
      for (const { env, needs = [] } of Object.values(jobs)) {
        const hash = env.SPACK_JOB_SPEC_DAG_HASH!;
        expect(part.has(hash)).toBe(false);
        part.set(hash, at);
        const needed = new Set(needs.map((id) => jobs[id]!.env.SPACK_JOB_SPEC_DAG_HASH));
        for (const dependency of large.jobs.get(hash)!.dependencies) {
          // Those of earlier parts have ended when this one starts.
          if (!needed.delete(dependency)) expect(part.get(dependency)).toBeLessThan(at);
        }
        expect([...needed]).toEqual([]);
      }
    }
    expect([...part.keys()].sort()).toEqual([...large.jobs.keys()].sort());
  });

  const actionlint = findProgram('actionlint');
  it.skipIf(!actionlint)(
    'passes actionlint in every file (go install github.com/rhysd/actionlint/cmd/actionlint@latest)',
    () => {
      for (const { path, text } of files) {
        mkdirSync(dirname(join(folder, path)), { recursive: true });
        writeFileSync(join(folder, path), text);
      }
      commitAll(folder);
      const { stdout, stderr, status } = spawnSync(actionlint!, [], { cwd: folder, encoding: 'utf8' });
      expect({ stdout, stderr, status }).toEqual({ stdout: '', stderr: '', status: 0 });
    },
  );
});
