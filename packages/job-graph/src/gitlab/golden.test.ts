import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseLock } from '@stackwright/spack-env';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { parseCi } from '../ci/ci-section.js';
import { jobAttributes } from '../ci/job-attributes.js';
import { buildStamp, type Flags, readSettings } from '../ci/settings.js';
import type { PipelineInput, Plain } from '../engine/pipeline-input.js';
import { setupTexts, setupVariables } from '../engine/setup.js';
import { toYaml } from '../engine/yaml-text.js';
import { graphOf, type Job, reach } from '../graph/graph.js';
import { shared } from '../graph/graphs.test.support.js';
import { matcherOf } from '../graph/matcher.js';
import { externals, keep, type Pruner, prune, upToDate } from '../prune/prune.js';
import { assemblePipeline, gitlabPipeline } from './pipeline.js';

const fixtures = fileURLToPath(new URL('../../fixtures/', import.meta.url));
const read = (...path: string[]) => readFileSync(join(...path), 'utf8');
type Spack = { ci: { 'pipeline-gen': unknown[] }; cdash: Record<string, string> };
const section = (...path: string[]) => parse(read(...path)) as Spack & { spack: Spack };

interface Case {
  readonly stack: string;
  readonly env: Record<string, string>;
  readonly flags?: Flags;
  readonly mirror: string;
  readonly present: readonly string[];
  readonly config?: Spack;
  /** Spack was not told of the mirror's index when it wrote this one. */
  readonly indexUnread?: boolean;
}

/** Generates as the command does, for a mirror that has the named packages, and reads the result again. */
function generate(given: Case): Record<string, Plain> {
  const lock = parseLock(read(given.stack, 'spack.lock'));
  const { ci, cdash } = given.config ?? section(given.stack, 'spack.yaml').spack;
  const settings = readSettings(given.env, given.flags ?? {}, '/project');
  const has = (job: Job) => given.present.includes(job.node.name);
  const pruners: Pruner[] = [];
  if (settings.pruneExternals) pruners.push(externals);
  if (settings.pruneUpToDate)
    pruners.push(upToDate((job) => (has(job) ? { mirror: given.mirror } : undefined)));
  const pruned = prune(graphOf(lock), pruners);
  const parsed = parseCi(ci);
  const buildGroup = cdash['build-group']!;
  const input: PipelineInput = {
    pruned,
    ci: parsed,
    attributes: jobAttributes(pruned, parsed, {
      matches: matcherOf(lock),
    }),
    settings,
    mirrors: { destination: { fetch: given.mirror, push: given.mirror } },
    cdash: { buildGroup, buildStamp: buildStamp(given.env, buildGroup, new Date(0)) },
    needsRebuild: (job) => given.indexUnread || !has(job),
    spack: lock.spack,
    setup: {
      stackwright: { version: '0.1.0', command: 'node /opt/stackwright/cli.js' },
      spack: { repo: 'https://git.example.org/spack', ref: 'v1.1.0' },
    },
  };
  return withoutOurs(parse(toYaml(assemblePipeline(gitlabPipeline(input)))), input);
}

/**
 * A pipeline of ours without the three things that Spack does not write: the variables of the setup, the setup at the
 * start of each `before_script`, and our own command in the index job. Everything else is compared.
 */
function withoutOurs(pipeline: Record<string, Plain>, input: PipelineInput): Record<string, Plain> {
  const texts = setupTexts(input);
  const { push } = input.mirrors.destination;
  const added = Object.keys(setupVariables(input.setup!));
  const clean = ([name, part]: [string, Plain]): [string, Plain] => {
    if (name === 'variables') {
      for (const variable of added) expect(part).toHaveProperty(variable);
      return [name, Object.fromEntries(Object.entries(part).filter(([key]) => !added.includes(key)))];
    }
    const { before_script: before, script, ...rest } = part;
    if (!Array.isArray(script)) return [name, part];
    const own = Array.isArray(before) ? before.filter((line) => !texts.includes(line)) : [];
    const index = [`stackwright mirror index ${push} --keys`];
    const same = name === 'rebuild-index' && JSON.stringify(script) === JSON.stringify(index);
    return [
      name,
      {
        ...rest,
        script: same ? [`spack buildcache update-index --keys ${push}`] : script,
        ...(own.length > 0 || (Array.isArray(before) && before.length === 0) ? { before_script: own } : {}),
      },
    ];
  };
  return Object.fromEntries(Object.entries(pipeline).map(clean));
}

/** Spack's pipeline, without the job that must be needed but does not exist: we leave such a need out. */
function golden(file: string): Record<string, Plain> {
  // GitLab reads YAML 1.1, in which Spack's unquoted `yes` is no text; it was meant as one.
  const pipeline = parse(read(fixtures, file)) as Record<string, Plain>;
  for (const job of Object.values(pipeline)) {
    if (Array.isArray(job.needs)) {
      (job as Record<string, unknown>).needs = job.needs.filter((need) => need.job !== 'job-does-not-exist');
    }
  }
  return pipeline;
}

/** What a pipeline means, whatever the order of its keys and needs. */
function meaning(pipeline: Record<string, Plain>) {
  return Object.fromEntries(
    Object.entries(pipeline).map(([name, part]) => {
      const needs = (part as { needs?: { job: string }[] }).needs;
      if (!needs) return [name, part];
      return [name, { ...part, needs: [...needs].sort((a, b) => (a.job < b.job ? -1 : 1)) }];
    }),
  );
}

const everything = [
  'compiler-wrapper gcc-runtime gcc glibc gmake greet-scripts greet-suite hello-cli libgreet libshout pkgconf',
  'shout-cli',
].flatMap((names) => names.split(' '));
const partial = ['compiler-wrapper', 'gcc-runtime', 'gcc', 'glibc', 'gmake', 'hello-cli', 'libgreet'];
const protectedRun = {
  CI_PIPELINE_ID: '4242',
  SPACK_PIPELINE_TYPE: 'spack_protected_branch',
  SPACK_CI_STACK_NAME: 'mini',
};
const stamp = (time: string) => ({ SPACK_CDASH_BUILD_STAMP: `20261123-${time}-Mini Stack` });
const stack = join(fixtures, 'mini');

describe('a GitLab pipeline is the one that Spack generated', () => {
  it.each<[string, string, Case]>([
    [
      'for an empty mirror',
      'pipelines/empty.yml',
      {
        stack,
        env: { ...stamp('2024') },
        flags: { artifactsRoot: '../stack/golden/artifacts-mini-empty' },
        mirror: 'file:///stack/mirror-empty',
        present: [],
      },
    ],
    [
      'for a full mirror',
      'pipelines/full.yml',
      { stack, env: {}, mirror: 'file:///stack/mirror', present: everything },
    ],
    [
      'for a half-built mirror and a protected branch',
      'pipelines/partial.yml',
      {
        stack,
        env: { ...protectedRun, ...stamp('2026') },
        mirror: 'file:///stack/mirror-partial',
        present: partial,
      },
    ],
    [
      'without pruning',
      'pipelines/noprune.yml',
      {
        stack,
        env: { ...protectedRun, ...stamp('2025') },
        flags: { pruneDag: false, pruneExternals: false },
        mirror: 'file:///stack/mirror-empty',
        present: [],
      },
    ],
  ])('%s', (_name, file, given) => {
    const ours = generate(given);
    const theirs = golden(file);
    if (file === 'pipelines/empty.yml') relocate(theirs, ours);
    expect(meaning(ours)).toEqual(meaning(theirs));
  });

  const ciFolder = join(shared, 'data/stacks/.ci/gitlab/configs');
  it.skipIf(!existsSync(ciFolder))(
    'under the configuration of the packages repository of 2026, with removals and submappings (needs ../shared)',
    () => {
      const own = section(fixtures, 'mini-ci/spack.yaml').spack;
      const scopes = ['linux/x86_64_v3/ci.yaml', 'linux/ci.yaml', 'ci.yaml'].map((file) =>
        section(ciFolder, file),
      );
      const gen = [own, ...scopes].flatMap((scope) => scope.ci['pipeline-gen']);
      const config = {
        ci: { ...scopes.at(-1)!.ci, 'pipeline-gen': gen },
        cdash: section(ciFolder, 'cdash.yaml').cdash,
      };
      const ours = generate({
        stack: join(fixtures, 'mini-ci'),
        env: {
          CI_PIPELINE_ID: '4242',
          CI_JOB_NAME: 'generate-it',
          SPACK_CI_STACK_NAME: 'mini',
          SPACK_CDASH_BUILD_STAMP: '20261123-2048-Spack CI',
        },
        mirror: 'file:///stack/mirror-none',
        present: [],
        config,
      });
      expect(meaning(ours)).toEqual(meaning(golden('mini-ci/expected-pipeline.yml')));
    },
  );
});

/** Spack ran in a folder that is not ours: the same paths, seen from there. */
function relocate(theirs: Record<string, Plain>, ours: Record<string, Plain>) {
  const text = JSON.stringify(theirs)
    .replaceAll('../../golden/artifacts-mini-empty', '../stack/golden/artifacts-mini-empty')
    .replaceAll('"/stack/golden/artifacts-mini-empty"', '"../stack/golden/artifacts-mini-empty"');
  for (const key of Object.keys(theirs)) delete theirs[key];
  Object.assign(theirs, JSON.parse(text));
  expect(Object.keys(ours)).not.toHaveLength(0);
}

/** Our own stack with many `ci` sections; scripts/golden-pipelines.mjs asks Spack for each. */
describe('the pipeline of the quickstart is the one that Spack generates', () => {
  const quickstart = fileURLToPath(new URL('../../../../stacks/quickstart/', import.meta.url));
  const cases = JSON.parse(read(fixtures, 'quickstart/cases.json')) as Record<string, GoldenCase>;
  const { pipelines } = JSON.parse(read(fixtures, 'quickstart/pipelines.json')) as {
    pipelines: Record<string, Record<string, Plain>>;
  };

  it.each(Object.entries(cases))('%s', (name, { ci, env, args }) => {
    const ours = generate({
      stack: quickstart,
      env,
      flags: {
        pruneDag: !args.includes('--no-prune-dag'),
        pruneExternals: !args.includes('--no-prune-externals'),
        artifactsRoot: args.includes('--artifacts-root') ? args.at(-1) : undefined,
      },
      mirror: 'file:///nowhere/mirror',
      present: [],
      config: { ci, cdash: { 'build-group': 'Quickstart' } },
    });
    expect(meaning(ours)).toEqual(meaning(pipelines[name]!));
  });
});

interface GoldenCase {
  readonly ci: Spack['ci'];
  readonly env: Record<string, string>;
  readonly args: readonly string[];
}

describe('golden pipelines hold together', () => {
  it('lets every job reach by needs what its spec depends on', () => {
    const lock = parseLock(read(stack, 'spack.lock'));
    const graph = keep(graphOf(lock), (job) => !job.node.external);
    const pipeline = generate({ stack, env: {}, mirror: 'file:///m', present: [] });
    for (const job of graph.jobs.values()) {
      const name = Object.keys(pipeline).find((key) => key.includes(`/${job.hash}`))!;
      const reached = new Set<string>([name]);
      for (const at of reached)
        for (const need of pipeline[at]!.needs as { job: string }[]) reached.add(need.job);
      expect(reached.size).toBe(reach(graph, [job.hash], 'dependencies').size);
    }
  });
});
