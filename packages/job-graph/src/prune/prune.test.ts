import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Job, reach } from '../graph/graph.js';
import { anyGraph, graph, hashOf, mini } from '../graph/graphs.test.support.js';
import {
  affectedBy,
  type Decision,
  externals,
  keep,
  only,
  type Pruner,
  prune,
  skip,
  untouched,
  upToDate,
} from './prune.js';

const names = (hashes: Iterable<string>) => [...hashes].map((hash) => mini.jobs.get(hash)!.node.name).sort();

describe('keep', () => {
  it('joins the dependents of a left-out job to its dependencies', () => {
    const { jobs } = keep(
      graph({ a: ['b'], b: ['c'], c: ['d', 'e'] }),
      (job) => !['b', 'c'].includes(job.hash),
    );
    expect(jobs.get('a')!.dependencies).toEqual(['d', 'e']);
    expect(jobs.get('d')!.dependents).toEqual(['a']);
  });

  it('keeps what is reachable among the kept, and no more', () => {
    fc.assert(
      fc.property(anyGraph(), fc.func(fc.boolean()), (full, choose) => {
        const wanted = new Set([...full.jobs.keys()].filter((hash) => choose(hash)));
        const kept = keep(full, (job) => wanted.has(job.hash));
        expect(new Set(kept.jobs.keys())).toEqual(wanted);
        for (const hash of wanted) {
          const before = [...reach(full, [hash], 'dependencies')].filter((other) => wanted.has(other));
          expect(reach(kept, [hash], 'dependencies')).toEqual(new Set(before));
        }
      }),
    );
  });
});

describe('prune', () => {
  it('leaves a job out with the reason of the first pruner that wants it so', () => {
    const { decisions, graph: left } = prune(mini, [
      externals,
      upToDate((job) => (job.node.name.startsWith('g') ? { mirror: 'file:///m' } : undefined)),
    ]);
    const decision = (name: string) => decisions.get(hashOf(mini, name));
    expect(decision('gcc')).toEqual({ action: 'skip', reason: 'external' });
    expect(decision('gcc-runtime')).toEqual({ action: 'skip', reason: 'up to date on file:///m' });
    expect(decision('libgreet')).toEqual({ action: 'build', reason: 'on no mirror' });
    expect(names(left.jobs.keys())).toEqual([
      'compiler-wrapper',
      'hello-cli',
      'libgreet',
      'libshout',
      'shout-cli',
    ]);
  });

  it('builds with the reason why a binary that is there does not count', () => {
    const { decisions } = prune(mini, [upToDate(() => ({ refused: 'not signed on file:///m' }))]);
    expect(decisions.get(hashOf(mini, 'libgreet'))).toEqual({
      action: 'build',
      reason: 'not signed on file:///m',
    });
  });

  it('builds everything when nothing is to be pruned', () => {
    expect(prune(mini, []).graph.jobs.size).toBe(12);
  });

  it('takes --only and --skip', () => {
    const { graph: left } = prune(mini, [
      only((job) => job.node.name.startsWith('lib')),
      skip((job) => job.node.name === 'libshout'),
    ]);
    expect(names(left.jobs.keys())).toEqual(['libgreet']);
  });
});

describe('affectedBy', () => {
  it.each([
    ['only the package and what it needs, at depth 0', 0, ['libshout']],
    ['its direct dependents at depth 1', 1, ['libshout', 'shout-cli']],
    ['everything up to the roots without a depth', undefined, ['greet-suite', 'libshout', 'shout-cli']],
  ])('takes %s', (_name, depth, above) => {
    const affected = affectedBy(mini, new Set(['libshout']), depth);
    const needed = reach(
      mini,
      above.map((name) => hashOf(mini, name)),
      'dependencies',
    );
    expect(names(affected)).toEqual(names(needed));
  });

  it('takes nothing at a depth below 0', () => {
    expect(affectedBy(mini, new Set(['libshout']), -1).size).toBe(0);
  });

  it('lets the pruner tell what the change touches', () => {
    const { decisions } = prune(mini, [untouched(affectedBy(mini, new Set(['greet-scripts']), 0))]);
    expect(decisions.get(hashOf(mini, 'libshout'))!.reason).toBe('untouched by the change');
    expect(decisions.get(hashOf(mini, 'greet-scripts'))!.reason).toBe('affected by the change');
  });
});

describe('each pruner says what it decides and why', () => {
  const job = mini.jobs.get(hashOf(mini, 'libgreet'))!;
  const is = (name: string) => (each: Job) => each.node.name === name;

  it.each<[string, Pruner, Decision]>([
    ['externals', externals, { action: 'build', reason: '' }],
    [
      'upToDate, on a mirror',
      upToDate(() => ({ mirror: 'm' })),
      { action: 'skip', reason: 'up to date on m' },
    ],
    ['upToDate, refused', upToDate(() => ({ refused: 'no key' })), { action: 'build', reason: 'no key' }],
    ['upToDate, nowhere', upToDate(() => undefined), { action: 'build', reason: 'on no mirror' }],
    [
      'untouched, affected',
      untouched(new Set([job.hash])),
      { action: 'build', reason: 'affected by the change' },
    ],
    ['untouched', untouched(new Set()), { action: 'skip', reason: 'untouched by the change' }],
    ['only, chosen', only(is('libgreet')), { action: 'build', reason: 'chosen by --only' }],
    ['only', only(is('other')), { action: 'skip', reason: 'not chosen by --only' }],
    ['skip, left out', skip(is('libgreet')), { action: 'skip', reason: 'left out by --skip' }],
    ['skip', skip(is('other')), { action: 'build', reason: '' }],
  ])('%s', (_name, pruner, decision) => {
    expect(pruner(job)).toEqual(decision);
  });
});
