import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { reach } from './graph.js';
import { anyGraph, graph } from './graphs.test.support.js';
import { transitiveReduction } from './reduction.js';

describe('transitiveReduction', () => {
  it('drops an edge that a longer way makes needless', () => {
    const { jobs } = transitiveReduction(graph({ a: ['b', 'c'], b: ['c'] }));
    expect(jobs.get('a')!.dependencies).toEqual(['b']);
  });

  it('keeps what is reachable, and could not drop one edge more', () => {
    fc.assert(
      fc.property(anyGraph(50), (full) => {
        const reduced = transitiveReduction(full);
        for (const hash of full.jobs.keys()) {
          expect(reach(reduced, [hash], 'dependencies')).toEqual(reach(full, [hash], 'dependencies'));
        }
        for (const job of reduced.jobs.values()) {
          for (const hash of job.dependencies) {
            const others = job.dependencies.filter((other) => other !== hash);
            expect(reach(reduced, others, 'dependencies').has(hash)).toBe(false);
          }
        }
      }),
    );
  });
});
