import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { JobGraphError } from '../error.js';
import { assemble, graphOf, reach } from './graph.js';
import { anyGraph, graph, hashOf, mini, miniLock, node } from './graphs.test.support.js';

describe('graphOf', () => {
  it('has a job for every spec that a root reaches', () => {
    expect(mini.jobs.size).toBe(12);
    expect([...mini.jobs.values()].filter((job) => job.root).map((job) => job.node.name)).toEqual([
      'libgreet',
      'greet-suite',
    ]);
  });

  it('takes only what the chosen roots reach', () => {
    const part = graphOf(miniLock, { roots: [hashOf(mini, 'libgreet')] });
    expect([...part.jobs.values()].map((job) => job.node.name).sort()).toEqual([
      'compiler-wrapper',
      'gcc',
      'gcc-runtime',
      'glibc',
      'gmake',
      'libgreet',
    ]);
  });

  it('refuses a root that the lock does not hold', () => {
    expect(() => graphOf(miniLock, { roots: ['nothing'] })).toThrowError(/no spec \/nothing/);
  });
});

describe('assemble', () => {
  it('names the specs of a cycle', () => {
    const loose = [
      { node: node('a'), root: true, dependencies: ['b'] },
      { node: node('b'), root: false, dependencies: ['c'] },
      { node: node('c'), root: false, dependencies: ['b'] },
    ];
    expect(() => assemble(loose)).toThrowError(
      new JobGraphError('cycle', 'The specs depend on each other: b -> c -> b.'),
    );
  });

  it('refuses an edge that ends nowhere', () => {
    expect(() => assemble([{ node: node('a'), root: true, dependencies: ['b'] }])).toThrowError(
      JobGraphError,
    );
  });

  it('lets an edge that is given twice count once', () => {
    expect(graph({ a: ['b', 'b'] }).jobs.get('a')!.dependencies).toEqual(['b']);
  });

  it('puts each job after what it depends on', () => {
    fc.assert(
      fc.property(anyGraph(), ({ jobs }) => {
        const place = new Map([...jobs.keys()].map((hash, at) => [hash, at]));
        for (const job of jobs.values())
          for (const hash of job.dependencies) expect(place.get(hash)).toBeLessThan(place.get(job.hash)!);
      }),
    );
  });

  it('gives the same graph whatever the order of the input', () => {
    fc.assert(
      fc.property(
        anyGraph().chain((g) =>
          fc.tuple(
            fc.constant(g),
            fc.shuffledSubarray([...g.jobs.values()], {
              minLength: g.jobs.size,
              maxLength: g.jobs.size,
            }),
          ),
        ),
        ([original, shuffled]) => {
          const again = assemble(
            shuffled.map(({ node, root, dependencies }) => ({
              node,
              root,
              dependencies: [...dependencies].reverse(),
            })),
          );
          expect([...again.jobs]).toEqual([...original.jobs]);
        },
      ),
    );
  });
});

describe('reach', () => {
  it('follows edges either way, the start included', () => {
    const g = graph({ a: ['b'], b: ['c'], d: ['c'] });
    expect(reach(g, ['b'], 'dependencies')).toEqual(new Set(['b', 'c']));
    expect(reach(g, ['b'], 'dependents')).toEqual(new Set(['b', 'a']));
  });
});
