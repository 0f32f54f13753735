import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import type { PipelineFile } from '../engine/engine.js';
import { inputOf } from '../engine/engines.test.support.js';
import { assemble, type JobGraph, reach } from '../graph/graph.js';
import { anyGraph, graph, node } from '../graph/graphs.test.support.js';
import { gitlabFiles } from './files.js';
import { maximumNeeds, needsOf } from './needs.js';
import { namesOf } from './pipeline.js';

const ci = { 'pipeline-gen': [{ 'build-job': { image: 'x', tags: ['a'], variables: { A: '1' } } }] };
const env = { CI_JOB_NAME: 'generate', CI_PIPELINE_ID: '7' };

describe('needsOf', () => {
  it('leaves what is within the limit as it is', () => {
    const g = graph({ a: ['b', 'c'], b: ['c'] });
    expect(needsOf(g, 2).of.get('a')).toEqual(['b', 'c']);
  });

  it('leaves out what other needs reach before it makes joints', () => {
    const g = graph({ a: ['b', 'c'], b: ['c'] });
    expect(needsOf(g, 1)).toEqual({
      of: new Map([
        ['c', []],
        ['b', ['c']],
        ['a', ['b']],
      ]),
      joints: [],
    });
  });

  it('stays within any limit and reaches exactly what the graph reaches', () => {
    fc.assert(
      fc.property(anyGraph(40), fc.integer({ min: 2, max: 6 }), (g, limit) => {
        const { of, joints } = needsOf(g, limit);
        const members = new Map(joints.map((joint) => [joint.id, joint.members]));
        for (const list of [...of.values(), ...members.values()])
          expect(list.length).toBeLessThanOrEqual(limit);
        // A job that waits for a single other one does nothing but delay.
        for (const list of members.values()) expect(list.length).toBeGreaterThan(1);
        for (const hash of g.jobs.keys()) {
          const seen = new Set([hash]);
          for (const at of seen) for (const to of of.get(at) ?? members.get(at)!) seen.add(to);
          const jobs = new Set([...seen].filter((id) => g.jobs.has(id)));
          expect(jobs).toEqual(reach(g, [hash], 'dependencies'));
        }
      }),
    );
  });
});

describe('namesOf', () => {
  it('cuts names at 255 characters, never two to the same', () => {
    const long = 'v'.repeat(400);
    const g = assemble(
      ['a', 'b'].map((hash) => ({
        node: node('p', { hash: hash.repeat(32), version: long }),
        root: true,
        dependencies: [],
      })),
    );
    const names = [...namesOf(g, 'Group'.repeat(90)).values()];
    expect(new Set(names).size).toBe(2);
    for (const name of names) expect(name.length).toBeLessThanOrEqual(255);
  });
});

describe('a graph of 10,000 jobs with hubs', () => {
  const large = hubs(10_000);
  const limit = 1_000_000;
  const { files, waves } = gitlabFiles(
    inputOf(large, ci, { env, buildGroup: 'Large' }),
    'out/jobs.yml',
    limit,
  );
  const [parent, ...children] = files as [PipelineFile, ...PipelineFile[]];
  const pipelines = children.map((file) => parse(file.text, { maxAliasCount: -1 }));

  it('makes only files that GitLab takes', () => {
    expect(children.length).toBeGreaterThan(3);
    for (const file of files) expect(Buffer.byteLength(file.text)).toBeLessThanOrEqual(limit);
    for (const pipeline of pipelines) {
      const stages = pipeline.stages as string[];
      for (const [name, job] of jobsOf(pipeline)) {
        expect(name.length).toBeLessThanOrEqual(255);
        expect((job.needs ?? []).length).toBeLessThanOrEqual(maximumNeeds);
        expect(stages).toContain(job.stage);
        for (const need of job.needs ?? []) {
          if (need.pipeline) continue;
          const other = pipeline[need.job];
          expect(stages.indexOf(other.stage)).toBeLessThanOrEqual(stages.indexOf(job.stage));
        }
      }
    }
  });

  it('has every job in one wave, and every dependency in the same wave or an earlier one', () => {
    const place = new Map(
      waves.flatMap((wave, at) => [...wave.jobs.keys()].map((hash) => [hash, at] as const)),
    );
    expect(waves.reduce((sum, wave) => sum + wave.jobs.size, 0)).toBe(large.jobs.size);
    expect(place.size).toBe(large.jobs.size);
    for (const job of large.jobs.values()) {
      const own = place.get(job.hash)!;
      const inside = job.dependencies.filter((hash) => {
        expect(place.get(hash)).toBeLessThanOrEqual(own);
        return place.get(hash) === own;
      });
      expect(waves[own]!.jobs.get(job.hash)!.dependencies).toEqual(inside);
    }
  });

  it('starts the waves one after another from the first file', () => {
    const pipeline = parse(parent.text);
    const triggers = jobsOf(pipeline).filter(([, job]) => job.trigger);
    expect(triggers.map(([, job]) => job.trigger.include[0].artifact)).toEqual(
      children.map((file) => file.path),
    );
    for (const [at, [, job]] of triggers.entries()) {
      expect(job.trigger.strategy).toBe('depend');
      if (at > 0) expect(job.needs.map((need: Need) => need.job)).toContain(triggers[at - 1]![0]);
    }
    expect(pipelines.at(-1)).toHaveProperty('rebuild-index');
  });

  it('is one file where that is small enough', () => {
    const small = gitlabFiles(inputOf(hubs(50), ci, { env }), 'jobs.yml');
    expect(small.files.map((file) => file.path)).toEqual(['jobs.yml']);
    expect(small.waves).toHaveLength(1);
  });
});

describe('what a server with the usual settings does not take', () => {
  const warnings = (full: JobGraph, job: object, more: object = {}, limit = 5_000_000) =>
    gitlabFiles(
      inputOf(full, { 'pipeline-gen': [{ 'build-job': job }] }, { env: { ...env, ...more } }),
      'jobs.yml',
      limit,
    ).warnings;
  const small = graph({ a: [] });

  it('is nothing for a usual pipeline', () => {
    expect(warnings(hubs(150), { tags: ['a'] })).toEqual([]);
  });

  it('is told: a job with more than 1 MiB of configuration', () => {
    const [told, ...others] = warnings(small, { script: ['x'.repeat(1_100_000)] });
    expect(told).toMatch(/job "a@1 \/a" has 1\.1 MiB of configuration/);
    expect(others).toEqual([]);
  });

  it('is told: a file that takes more than 2 MiB of memory, though what jobs share goes into the default', () => {
    expect(warnings(hubs(150), { before_script: ['x'.repeat(20_000)] })).toEqual([]);
    const told = warnings(hubs(150), { variables: { LONG: 'x'.repeat(20_000) } });
    expect(told).toEqual([expect.stringMatching(/3\.\d MiB of jobs\.yml in memory.*max_yaml_size_bytes/)]);
  });

  it('is told: lists in lists that are too deep', () => {
    let deep: unknown = ['end'];
    for (let level = 0; level < 100; level++) deep = [deep];
    expect(warnings(small, { rules: deep })).toEqual([expect.stringContaining('max_yaml_depth')]);
  });

  it('is told: children of a child of a child pipeline', () => {
    const child = { CI_PIPELINE_SOURCE: 'parent_pipeline' };
    expect(warnings(hubs(60), {}, child)).toEqual([]);
    expect(warnings(hubs(600), {}, {}, 200_000)).toEqual([]);
    expect(warnings(hubs(600), {}, child, 200_000)).toEqual([
      expect.stringContaining('one more than GitLab runs'),
    ]);
  });
});

describe('a file just above the limit', () => {
  it('gets a default that only build jobs take', () => {
    const input = inputOf(hubs(60), ci, { env });
    const whole = gitlabFiles(input, 'jobs.yml').files[0]!.text;
    const { files } = gitlabFiles(input, 'jobs.yml', Buffer.byteLength(whole) - 1);
    expect(files).toHaveLength(1);
    const pipeline = parse(files[0]!.text, { maxAliasCount: -1 });
    const before = parse(whole, { maxAliasCount: -1 });
    for (const [name, job] of jobsOf(pipeline)) {
      const { inherit, ...own } = job as Record<string, unknown>;
      expect(inherit ? own : { ...pipeline.default, ...own }).toEqual(before[name]);
    }
  });
});

type Need = { job: string; pipeline?: string };
// biome-ignore lint/suspicious/noExplicitAny: a pipeline as it was read
type Job = any;

function jobsOf(pipeline: Record<string, Job>): [string, Job][] {
  const keywords = ['stages', 'variables', 'workflow', 'default'];
  return Object.entries(pipeline).filter(([name]) => !keywords.includes(name));
}

/** Levels of 100 jobs; some jobs have 400 dependents, some 300 dependencies. */
function hubs(count: number): JobGraph {
  const name = (at: number) => `pkg-${String(at).padStart(5, '0')}`;
  return assemble(
    Array.from({ length: count }, (_, at) => {
      const dependencies = new Set<string>();
      const level = Math.floor(at / 100) * 100;
      for (const back of [1, 37, 211]) if (level - back >= 0) dependencies.add(name(level - back));
      // A hub for the 400 jobs after its level.
      for (let hub = level - 100; hub >= 0 && hub >= level - 400; hub -= 100) dependencies.add(name(hub));
      if (at % 100 === 99)
        for (let to = Math.max(0, level - 300); to < level; to++) dependencies.add(name(to));
      return { node: node(name(at)), root: at >= count - 100, dependencies };
    }),
  );
}
