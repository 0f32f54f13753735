import { validateWorkflow } from '@action-validator/core';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { JobGraphError } from '../error.js';
import { assemble } from '../graph/graph.js';
import { hashOf, mini, node } from '../graph/graphs.test.support.js';
import { engineNamed, engines } from './engines.js';
import { inputOf } from './engines.test.support.js';

const ci = { 'pipeline-gen': [{ 'build-job': { tags: ['a'], variables: { A: '1' } } }] };
const place = { stack: '/project/stacks/mine', from: '/project' };
const codeOf = (run: () => unknown) => {
  try {
    run();
  } catch (error) {
    if (error instanceof JobGraphError) return error.code;
    throw error;
  }
  return undefined;
};

describe('every engine', () => {
  const input = inputOf(mini, ci);

  it.each([
    ['gitlab', '.gitlab-ci.yml'],
    ['github', '.github/workflows/mine.yml'],
    ['slurm', 'mine.slurm.sh'],
    ['local', 'mine-plan.json'],
  ])('%s writes to %s unless told otherwise', (name, path) => {
    expect(
      engineNamed(name)
        .files(input, place)
        .map((file) => file.path),
    ).toEqual([path]);
  });

  it.each(Object.entries(engines))(
    '%s takes another file, and says it relative to the project',
    (name, engine) => {
      expect(engine.name).toBe(name);
      const [file] = engine.files(input, { ...place, from: '/project/sub', output: '../out/x.txt' });
      expect(file?.path).toBe('out/x.txt');
    },
  );

  it.each(Object.entries(engines))('%s calls the stack what the environment does', (_name, engine) => {
    const named = inputOf(mini, ci, { env: { SPACK_CI_STACK_NAME: 'e4s' } });
    expect(engine.defaultPath(named, place)).not.toContain('mine');
  });

  it.each(Object.entries(engines))('%s warns of a lock without the Spack that wrote it', (_name, engine) => {
    expect(engine.warnings(input, place).join()).toContain('does not name the Spack');
    expect(engine.warnings({ ...input, spack: { version: '1.1.0' } }, place)).toEqual([]);
  });
});

describe("a destination's index view", () => {
  const indexLines = (name: string, env: NodeJS.ProcessEnv = {}) => {
    const input = inputOf(mini, ci, { env });
    const [file] = engineNamed(name).files(
      { ...input, mirrors: { destination: { fetch: 's3://b/m', push: 's3://b/m', view: 'mine' } } },
      place,
    );
    return file?.text.split('\n').filter((line) => line.includes('mirror index')) ?? [];
  };

  it.each(['gitlab', 'github', 'slurm'])('is written by the index job of %s, with the stack', (name) => {
    expect(indexLines(name).join()).toMatch(
      /stackwright mirror index s3:\/\/b\/m --keys --view mine --stack \S+ --append/,
    );
    expect(indexLines(name, { SPACK_CI_BUILDCACHE_VIEW: 'force' }).join()).toMatch(/--stack \S+ --force/);
  });
});

it('an unknown engine is refused with the known ones', () => {
  expect(codeOf(() => engineNamed('jenkins'))).toBe('unknown-engine');
  expect(codeOf(() => engineNamed('toString'))).toBe('unknown-engine');
});

describe('GitHub', () => {
  it('refuses a stack outside of the repository', () => {
    const outside = { ...place, stack: '/elsewhere/mine' };
    expect(codeOf(() => engines.github.files(inputOf(mini, ci), outside))).toBe('outside-repository');
  });

  it('warns of a file where GitHub does not look for workflows', () => {
    const input = { ...inputOf(mini, ci), spack: { version: '1.1.0' } };
    expect(engines.github.warnings(input, { ...place, output: 'ci.yml' }).join()).toContain(
      'ci.yml is not there',
    );
  });
});

describe('GitLab', () => {
  it('warns where the jobs cannot find the job that generated them', () => {
    const warnings = (env: NodeJS.ProcessEnv) =>
      engines.gitlab.warnings({ ...inputOf(mini, ci, { env }), spack: { version: '1.1.0' } }, place);
    expect(warnings({ CI: 'true' }).join()).toContain('CI_PIPELINE_ID');
    expect(warnings({ CI: 'true', CI_JOB_NAME: 'generate', CI_PIPELINE_ID: '7' })).toEqual([]);
    expect(warnings({})).toEqual([]);
  });
});

describe('the local plan', () => {
  const [file] = engines.local.files(inputOf(mini, ci, { buildGroup: 'Mine' }), place);
  const plan = JSON.parse(file!.text);

  it('has the jobs in an order in which they can run', () => {
    const seen = new Set<string>();
    for (const job of plan.jobs) {
      for (const hash of job.needs) expect(seen).toContain(hash);
      seen.add(job.hash);
    }
    expect(seen.size).toBe(8);
  });

  it('says what a job runs, and with which variables', () => {
    const job = plan.jobs.find((each: { hash: string }) => each.hash === hashOf(mini, 'libgreet'));
    expect(job).toMatchObject({
      level: 1,
      variables: { A: '1', SPACK_JOB_SPEC_PKG_NAME: 'libgreet', SPACK_SPEC_NEEDS_REBUILD: 'True' },
      script: ['cd /project/stacks/mine', 'spack env activate --without-view .', 'spack ci rebuild'],
    });
    expect(plan.end.map((each: { name: string }) => each.name)).toEqual(['rebuild-index']);
  });
});

describe('a workflow of GitHub that is too large for one file', () => {
  const large = assemble(
    Array.from({ length: 600 }, (_, at) => ({
      node: node(`package-${String(at).padStart(3, '0')}`),
      root: at >= 500,
      dependencies: at >= 100 ? [`package-${String(at - 100).padStart(3, '0')}`] : [],
    })),
  );
  const files = engines.github.files(inputOf(large, ci, { mirror: 'file:///project/mirror' }), place);
  const [calling, ...parts] = files.map(({ path, text }) => ({ path, text, workflow: parse(text) }));

  it('is cut into files that GitHub takes', () => {
    expect(parts.length).toBeGreaterThan(1);
    for (const { text } of files) {
      expect(Buffer.byteLength(text)).toBeLessThanOrEqual(512_000);
      expect(validateWorkflow(text).errors).toEqual([]);
    }
  });

  it('has every job once, which needs only jobs of its own file', () => {
    const ids = parts.flatMap(({ workflow }) => Object.keys(workflow.jobs));
    expect(new Set(ids).size).toBe(600);
    expect(ids).toHaveLength(600);
    for (const { workflow } of parts) {
      for (const job of Object.values<{ needs?: string[] }>(workflow.jobs)) {
        for (const need of job.needs ?? []) expect(Object.keys(workflow.jobs)).toContain(need);
      }
    }
  });

  it('fetches binaries of earlier parts', () => {
    const last = Object.values<{ needs?: string[]; steps: { name?: string }[] }>(parts.at(-1)!.workflow.jobs);
    const cut = last.filter((job) => job.needs === undefined);
    expect(cut.length).toBeGreaterThan(0);
    for (const job of cut) {
      expect(job.steps.map((step) => step.name)).toContain('Fetch binaries of earlier jobs');
    }
  });

  it('calls one part after another, and the index last', () => {
    const { jobs } = calling!.workflow;
    const names = parts.map((_, at) => `wave-${at}`);
    expect(Object.keys(jobs)).toEqual([...names, 'rebuild-index']);
    expect(names.map((name) => jobs[name].uses)).toEqual(parts.map(({ path }) => `./${path}`));
    for (const [at, name] of names.entries()) {
      expect(jobs[name].needs).toEqual(at === 0 ? undefined : [names[at - 1]]);
    }
    expect(jobs['rebuild-index'].needs).toEqual(names);
    // A called workflow with the concurrency group of its caller would wait for it for ever.
    for (const { workflow } of parts) expect(workflow.concurrency).toBeUndefined();
  });

  it('is refused where GitHub does not call so many', async () => {
    const { githubFiles } = await import('../github/files.js');
    const options = { name: 'x', stack: 'x' };
    expect(codeOf(() => githubFiles(inputOf(large, ci), options, 'x.yml', 12_000))).toBe('too-large');
    expect(codeOf(() => githubFiles(inputOf(large, ci), options, 'x.yml', 1_000))).toBe('too-large');
  });
});
