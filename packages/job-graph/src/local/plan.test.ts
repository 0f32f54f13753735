import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { reach } from '../graph/graph.js';
import { anyGraph, graph } from '../graph/graphs.test.support.js';
import { type PlanEvent, runPlan } from './plan.js';

const soon = () => new Promise<void>((resolve) => setImmediate(resolve));

describe('runPlan', () => {
  it('runs each job once, after its dependencies, never more than allowed at a time', async () => {
    await fc.assert(
      fc.asyncProperty(anyGraph(), fc.integer({ min: 1, max: 4 }), async (g, concurrency) => {
        const finished = new Set<string>();
        let running = 0;
        const { outcomes } = await runPlan(
          g,
          async (job) => {
            expect(finished.has(job.hash)).toBe(false);
            for (const hash of job.dependencies) expect(finished.has(hash)).toBe(true);
            expect(++running).toBeLessThanOrEqual(concurrency);
            await soon();
            running--;
            finished.add(job.hash);
          },
          { concurrency },
        );
        expect(new Set(outcomes.values())).toEqual(new Set(['done']));
        expect(finished.size).toBe(g.jobs.size);
      }),
      { numRuns: 40 },
    );
  });

  it('stops the dependents of a failed job and nothing else', async () => {
    await fc.assert(
      fc.asyncProperty(anyGraph(), fc.nat(), async (g, pick) => {
        const bad = [...g.jobs.keys()][pick % g.jobs.size]!;
        const { outcomes, errors } = await runPlan(
          g,
          async (job) => {
            await soon();
            if (job.hash === bad) throw new Error('no');
          },
          { concurrency: 3 },
        );
        const above = reach(g, [bad], 'dependents');
        for (const hash of g.jobs.keys()) {
          const expected = hash === bad ? 'failed' : above.has(hash) ? 'blocked' : 'done';
          expect(outcomes.get(hash)).toBe(expected);
        }
        expect([...errors.keys()]).toEqual([bad]);
      }),
      { numRuns: 40 },
    );
  });

  it('tells of every start and end, and what blocks a job', async () => {
    const events: PlanEvent[] = [];
    await runPlan(
      graph({ top: ['bad', 'good'] }),
      async (job) => {
        if (job.hash === 'bad') throw new Error('broken pipe');
      },
      { concurrency: 1, onEvent: (event) => events.push(event) },
    );
    expect(events.map((event) => `${event.type} ${event.job.hash}`)).toEqual([
      'start bad',
      'failed bad',
      'blocked top',
      'start good',
      'done good',
    ]);
    expect(events[2]).toMatchObject({ by: { hash: 'bad' } });
  });

  it('starts nothing more after an abort, and hands it to what runs', async () => {
    const stop = new AbortController();
    const ran: string[] = [];
    const { outcomes } = await runPlan(
      graph({ b: ['a'], c: [] }),
      async (job, signal) => {
        ran.push(job.hash);
        stop.abort();
        await soon();
        signal.throwIfAborted();
      },
      { concurrency: 1, signal: stop.signal },
    );
    expect(ran).toEqual(['a']);
    expect([...outcomes.values()]).toEqual(['cancelled', 'cancelled', 'cancelled']);
  });

  it('starts nothing more after a failure, where that is asked for', async () => {
    const { outcomes } = await runPlan(
      graph({ bad: [], other: [], later: ['other'] }),
      async (job) => {
        await soon();
        if (job.hash === 'bad') throw new Error('no');
        await soon();
      },
      { concurrency: 2, failFast: true },
    );
    expect(Object.fromEntries(outcomes)).toEqual({ bad: 'failed', other: 'done', later: 'cancelled' });
  });

  it.each([0, -1, Number.NaN])('refuses to run %s jobs at a time', async (concurrency) => {
    await expect(runPlan(graph({ a: [] }), async () => {}, { concurrency })).rejects.toThrowError(/one job/);
  });
});
