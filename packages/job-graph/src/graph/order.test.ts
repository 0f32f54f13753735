import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { externals, prune } from '../prune/prune.js';
import { anyGraph, graph, hashOf, mini, someDurations } from './graphs.test.support.js';
import { criticalPath, levels, levelsAmong, longestPathFirst } from './order.js';

describe('levels', () => {
  it('counts the longest way from a job without dependencies', () => {
    expect(Object.fromEntries(levels(graph({ a: ['b', 'c'], b: ['c'] })))).toEqual({ a: 2, b: 1, c: 0 });
  });

  it('gives a left-out job the stage that it would have among the kept ones', () => {
    const pruned = prune(mini, [externals]);
    const among = levelsAmong(mini, pruned.graph.jobs);
    for (const [hash, level] of levels(pruned.graph)) expect(among.get(hash)).toBe(level);
    expect(among.get(hashOf(mini, 'gcc'))).toBe(0);
  });
});

describe('criticalPath', () => {
  it('is the longest chain by time, first job first', () => {
    const g = graph({ top: ['slow', 'quick'], quick: ['base'] });
    const seconds = new Map([
      ['top', 1],
      ['slow', 50],
      ['quick', 10],
      ['base', 10],
    ]);
    expect(criticalPath(g, seconds)).toEqual({ jobs: ['slow', 'top'], seconds: 51 });
  });

  it('is a chain of dependencies that no other chain beats', () => {
    fc.assert(
      fc.property(anyGraph(), fc.nat(), (g, seed) => {
        const durations = someDurations(g, seed + 1);
        const path = criticalPath(g, durations);
        for (const [at, hash] of path.jobs.slice(1).entries())
          expect(g.jobs.get(hash)!.dependencies).toContain(path.jobs[at]);
        const end = new Map<string, number>();
        for (const job of g.jobs.values()) {
          const start = Math.max(0, ...job.dependencies.map((hash) => end.get(hash)!));
          end.set(job.hash, start + durations.get(job.hash)!);
        }
        expect(path.seconds).toBeCloseTo(Math.max(...end.values()), 6);
      }),
    );
  });

  it('is empty for an empty graph', () => {
    expect(criticalPath({ jobs: new Map() }, new Map())).toEqual({ jobs: [], seconds: 0 });
  });
});

describe('longestPathFirst', () => {
  it('never puts a job before its dependency, and names each once', () => {
    fc.assert(
      fc.property(anyGraph(), fc.nat(), (g, seed) => {
        const order = longestPathFirst(g, someDurations(g, seed + 1));
        expect([...order].sort()).toEqual([...g.jobs.keys()].sort());
        const place = new Map(order.map((hash, at) => [hash, at]));
        for (const job of g.jobs.values())
          for (const hash of job.dependencies) expect(place.get(hash)).toBeLessThan(place.get(job.hash)!);
      }),
    );
  });

  it('prefers the job with the longest chain above it', () => {
    const g = graph({ end: ['long'], other: ['short'] });
    const seconds = new Map([
      ['end', 100],
      ['long', 1],
      ['other', 1],
      ['short', 50],
    ]);
    expect(longestPathFirst(g, seconds)).toEqual(['long', 'end', 'short', 'other']);
  });
});
