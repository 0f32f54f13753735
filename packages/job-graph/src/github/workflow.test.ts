import { spawnSync } from 'node:child_process';
import { validateWorkflow } from '@action-validator/core';
import { findProgram } from '@stackwright/testing';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { inputOf } from '../engine/engines.test.support.js';
import { assemble, type JobGraph } from '../graph/graph.js';
import { graph, hashOf, mini, node } from '../graph/graphs.test.support.js';
import { githubWorkflow } from './workflow.js';

const ci = {
  'pipeline-gen': [
    {
      'build-job': {
        image: { name: 'registry.example.invalid/ci/debian12:1', entrypoint: [''] },
        tags: ['x86_64'],
        timeout: '1h 30m',
        variables: { CI_JOB_SIZE: 'default' },
        before_script: [['echo before']],
        'script:': ['cd {env_dir}', 'stackwright rebuild'],
        after_script: ['echo after'],
      },
    },
    { submapping: [{ match: ['libgreet'], 'build-job': { tags: ['ubuntu-22.04'] } }] },
  ],
};
const options = { name: 'mini', stack: 'stacks/mini' };
type Workflow = {
  permissions: object;
  concurrency: object;
  env: Record<string, string>;
  jobs: Record<
    string,
    { needs?: string[]; steps: { name?: string; uses?: string; run?: string; env?: object }[] } & Record<
      string,
      unknown
    >
  >;
};

describe('githubWorkflow', () => {
  const text = githubWorkflow(inputOf(mini, ci), options);
  const workflow = parse(text) as Workflow;
  const job = (name: string) => workflow.jobs[`${name}-${hashOf(mini, name).slice(0, 12)}`]!;

  it('has a job a package that needs the jobs of its dependencies', () => {
    expect(Object.keys(workflow.jobs)).toHaveLength(9);
    expect(job('libgreet').needs!.map((id) => id.slice(0, -13))).toEqual(['compiler-wrapper', 'gcc-runtime']);
    expect(workflow.jobs['rebuild-index']!.needs).toHaveLength(8);
  });

  it('takes image, runner, time, variables and scripts from the ci section', () => {
    expect(job('hello-cli')).toMatchObject({
      'runs-on': 'ubuntu-24.04',
      container: { image: 'registry.example.invalid/ci/debian12:1' },
      'timeout-minutes': 90,
      env: { CI_JOB_SIZE: 'default', SPACK_JOB_SPEC_PKG_NAME: 'hello-cli' },
    });
    expect(job('libgreet')['runs-on']).toBe('ubuntu-22.04');
    expect(job('libgreet').steps.find((step) => step.name === 'Build')!.run).toBe(
      'echo before\ncd stacks/mini\nstackwright rebuild',
    );
  });

  it('may only read the repository, pins every action, and shows secrets to the build alone', () => {
    expect(workflow.permissions).toEqual({ contents: 'read' });
    for (const { steps } of Object.values(workflow.jobs)) {
      for (const step of steps) {
        if (step.uses) expect(step.uses).toMatch(/@[0-9a-f]{40}$/);
        if (step.env) expect(['Build', 'Run']).toContain(step.name);
      }
    }
    expect(text).toMatch(/actions\/checkout@[0-9a-f]{40} # v7\.0\.1$/m);
  });

  describe('who gets which secret', () => {
    const signing = {
      'pipeline-gen': [...ci['pipeline-gen'], { 'signing-job': { tags: ['x'], script: ['./sign'] } }],
    };
    const of = (type: string | undefined, section: object) => {
      const env = { SPACK_PIPELINE_TYPE: type };
      const made = githubWorkflow(inputOf(mini, section, { env }), options);
      return { made, jobs: (parse(made) as Workflow).jobs };
    };
    const withKey = (jobs: Workflow['jobs']) =>
      Object.keys(jobs).filter((id) => JSON.stringify(jobs[id]).includes('secrets.SPACK_SIGNING_KEY'));

    it.each([ci, signing])('a pull request: no job any', (section) => {
      const { made } = of('spack_pull_request', section);
      expect(made).not.toContain('secrets');
      expect(validateWorkflow(made).errors).toEqual([]);
    });

    it('a protected branch with a signing-job: that job alone the key, before the index', () => {
      const { made, jobs } = of('spack_protected_branch', signing);
      expect(withKey(jobs)).toEqual(['sign-pkgs']);
      expect(jobs['sign-pkgs']).toMatchObject({
        environment: 'release',
        env: { SPACK_BUILDCACHE_DESTINATION: 's3://bucket/mirror' },
      });
      expect(jobs['sign-pkgs']?.steps.at(-1)?.run).toContain('./sign');
      expect(jobs['rebuild-index']?.needs).toContain('sign-pkgs');
      expect(validateWorkflow(made).errors).toEqual([]);
    });

    it.each([
      [undefined, signing],
      ['spack_protected_branch', ci],
    ])('without a job that signs: those that build (%s)', (type, section) => {
      const { jobs } = of(type, section);
      expect(withKey(jobs)).toHaveLength(9);
      expect(jobs).not.toHaveProperty('sign-pkgs');
    });
  });

  it('may write packages only for a mirror in GitHub’s registry', () => {
    const own = githubWorkflow(inputOf(mini, ci, { mirror: 'oci://ghcr.io/lab/cache' }), options);
    expect(own).toContain('packages: write');
    expect(text).not.toContain('packages: write');
  });

  it('hands binaries on as artifacts when the mirror is a folder of the repository', () => {
    const local = parse(
      githubWorkflow(inputOf(mini, ci, { mirror: 'file:///project/mirror' }), options),
    ) as Workflow;
    const names = Object.values(local.jobs).map(({ steps }) => steps.map((step) => step.name ?? step.uses));
    expect(names.filter((steps) => steps.includes('Keep binaries'))).toHaveLength(8);
    expect(names.filter((steps) => steps.includes('Fetch binaries of earlier jobs'))).toHaveLength(7);
  });

  it('leaves no expression in what comes from specs', () => {
    const odd = assemble([
      { node: node('a', { parameters: { x: `$${'{{ secrets.KEY }}'}` } }), root: true, dependencies: [] },
    ]);
    expect(githubWorkflow(inputOf(odd, ci), options)).not.toMatch(/x='?\$\{\{ secrets/);
  });
});

const workflows: readonly (readonly [string, JobGraph, string])[] = [
  ['the mini stack', mini, 's3://bucket/mirror'],
  ['a mirror in the repository', mini, 'file:///project/mirror'],
  ['a mirror in a registry', mini, 'oci://ghcr.io/lab/cache'],
  ['a package whose name starts with a digit', graph({ '7zip': [] }), 's3://b/m'],
  ['nothing to build', graph({}), 's3://b/m'],
];

describe('action-validator', () => {
  it('would find a need that is not there', () => {
    const broken = githubWorkflow(inputOf(mini, ci), options).replace(/- gcc-runtime-\w+/, '- gone');
    expect(validateWorkflow(broken).errors).toMatchObject([{ code: 'unresolved_job' }]);
  });

  it.each(workflows)('finds nothing wrong with the workflow of %s', (_name, of, mirror) => {
    expect(validateWorkflow(githubWorkflow(inputOf(of, ci, { mirror }), options)).errors).toEqual([]);
  });
});

const actionlint = findProgram('actionlint');
const source = 'github.com/rhysd/actionlint/cmd/actionlint@latest';
describe.skipIf(!actionlint)(`actionlint (go install ${source})`, () => {
  it.each(workflows)('finds nothing wrong with the workflow of %s', (_name, of, mirror) => {
    const setup = { stackwright: { version: '0.1.0' }, spack: { ref: 'v1.1.0' } };
    const text = githubWorkflow(inputOf(of, ci, { mirror, setup }), options);
    const { stdout, status } = spawnSync(actionlint!, ['-'], { input: text, encoding: 'utf8' });
    expect({ stdout, status }).toEqual({ stdout: '', status: 0 });
  });
});
