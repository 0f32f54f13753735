import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseLock } from '@stackwright/spack-env';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { assemble, graphOf } from '../graph/graph.js';
import { anyGraph, graph, node, shared, someDurations } from '../graph/graphs.test.support.js';
import { externals, prune } from '../prune/prune.js';
import { forecast, type Strategy, simulate, worthwhile } from './simulate.js';

const strategies: readonly Strategy[] = ['stages', 'arrival', 'longest'];
const seconds = (times: Record<string, number>) => new Map(Object.entries(times));

describe('simulate', () => {
  it('never beats the lower bound, and runs no job before its dependencies', () => {
    fc.assert(
      fc.property(
        anyGraph(),
        fc.integer({ min: 1, max: 6 }),
        fc.constantFrom(...strategies),
        fc.constantFrom(0, 0.3),
        fc.nat(1000),
        (g, runners, strategy, failureRate, seed) => {
          const durations = someDurations(g, seed + 1);
          const result = simulate(g, {
            durations,
            runners,
            strategy,
            failureRate,
            retries: 1,
            seed,
            startup: 3,
          });
          expect(result.makespan).toBeGreaterThanOrEqual(result.bound - 1e-6);
          expect(result.done + result.failed + result.blocked).toBe(g.jobs.size);
          for (const [hash, run] of result.runs) {
            for (const below of g.jobs.get(hash)!.dependencies) {
              expect(result.runs.get(below)!.end).toBeLessThanOrEqual(run.start);
              expect(result.runs.get(below)!.ok).toBe(true);
            }
          }
        },
      ),
    );
  });

  it('has no more jobs at a time than runners, and one at a time on each', () => {
    fc.assert(
      fc.property(anyGraph(), fc.integer({ min: 1, max: 4 }), (g, runners) => {
        const { runs } = simulate(g, { durations: someDurations(g), runners, strategy: 'longest' });
        const ends = new Map<number, number>();
        for (const run of [...runs.values()].sort((a, b) => a.start - b.start)) {
          expect(run.runner).toBeLessThan(runners);
          expect(run.start).toBeGreaterThanOrEqual(ends.get(run.runner) ?? 0);
          ends.set(run.runner, run.end);
        }
      }),
    );
  });

  it('waits for a whole stage only with stage barriers', () => {
    const g = graph({ quick2: ['quick'], slow2: ['slow'] });
    const durations = seconds({ quick: 1, quick2: 10, slow: 10, slow2: 1 });
    const makespan = (strategy: Strategy) => simulate(g, { durations, runners: 2, strategy }).makespan;
    expect(makespan('stages')).toBe(20);
    expect(makespan('arrival')).toBe(11);
  });

  it('starts the longest chain first when asked to', () => {
    const g = graph({ end: ['start'] });
    const many = assemble([
      ...[...g.jobs.values()].map(({ node, root, dependencies }) => ({ node, root, dependencies })),
      { node: node('a1'), root: true, dependencies: [] },
      { node: node('a2'), root: true, dependencies: [] },
    ]);
    const durations = seconds({ start: 10, end: 10, a1: 10, a2: 10 });
    const makespan = (strategy: Strategy) => simulate(many, { durations, runners: 2, strategy }).makespan;
    expect(makespan('arrival')).toBe(30);
    expect(makespan('longest')).toBe(20);
  });

  it('blocks what needs a failed job, and meets the same failures with any number of runners', () => {
    const g = graph({ b: ['a'], c: [] });
    const one = simulate(g, { durations: someDurations(g), runners: 1, strategy: 'arrival', failureRate: 1 });
    expect(one).toMatchObject({ done: 0, failed: 2, blocked: 1 });
    const many = (runners: number) =>
      simulate(g, { durations: someDurations(g), runners, strategy: 'longest', failureRate: 0.5, seed: 7 });
    expect(many(1).failed).toBe(many(3).failed);
  });

  it.each([0, 1.5, Number.NaN])('refuses %s runners', (runners) => {
    expect(() =>
      simulate(graph({ a: [] }), { durations: new Map(), runners, strategy: 'arrival' }),
    ).toThrowError(/number of runners/);
  });
});

describe('longest path first', () => {
  const file = join(shared, 'data/locks/tutorial/spack.lock');
  const tutorial = () => prune(graphOf(parseLock(readFileSync(file, 'utf8'))), [externals]).graph;
  /** The tutorial six times over, each time with other hashes: 1,122 jobs. */
  const six = () => {
    const { jobs } = tutorial();
    return assemble(
      Array.from({ length: 6 }, (_, copy) =>
        [...jobs.values()].map(({ node, root, dependencies }) => ({
          node: { ...node, hash: `${node.hash}${copy}` },
          root,
          dependencies: dependencies.map((hash) => `${hash}${copy}`),
        })),
      ).flat(),
    );
  };
  it.skipIf(!existsSync(file)).each([
    ['tutorial', 8, tutorial],
    ['tutorial', 32, tutorial],
    ['1,122 jobs', 8, six],
    ['1,122 jobs', 32, six],
  ])('is within a tenth of the bound: %s, %i runners (needs ../shared)', (_name, runners, load) => {
    const g = load();
    for (const seed of [1, 2, 3, 4, 5]) {
      const { makespan, bound } = simulate(g, {
        durations: someDurations(g, seed),
        runners,
        strategy: 'longest',
      });
      expect(makespan / bound).toBeLessThanOrEqual(1.1);
    }
  });
});

describe('forecast', () => {
  it('tells what each number of runners costs, and which is worth it', () => {
    const g = assemble(
      Array.from({ length: 8 }, (_, at) => ({ node: node(`p${at}`), root: true, dependencies: [] })),
    );
    const durations = new Map([...g.jobs.keys()].map((hash) => [hash, 3600]));
    const rows = forecast(g, { durations, runners: [1, 4, 8, 16], price: 2 });
    expect(rows.map((row) => row.makespan.longest / 3600)).toEqual([8, 2, 1, 1]);
    expect(rows.map((row) => row.cost)).toEqual([16, 16, 16, 32]);
    expect(rows.map((row) => row.costOnDemand)).toEqual([16, 16, 16, 16]);
    expect(worthwhile(rows)?.runners).toBe(8);
  });
});
