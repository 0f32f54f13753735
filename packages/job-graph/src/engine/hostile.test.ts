import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { validateWorkflow } from '@action-validator/core';
import { afterAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { assemble } from '../graph/graph.js';
import { node } from '../graph/graphs.test.support.js';
import { engines } from './engines.js';
import { inputOf } from './engines.test.support.js';

/** How GitHub's expressions begin. */
const open = `$${'{{'}`;

/** Each would create the file `owned` if it came to be run. A lock with such names is refused; graphs can be made. */
const payloads = [
  'x\nJOBS\ntouch owned\ncat <<JOBS',
  'x\nSCRIPT\ntouch owned',
  'x\nEOF\ntouch owned',
  'x"; touch owned; "',
  "x'; touch owned; '",
  'x$(touch owned)',
  'x`touch owned`',
  'x\n)\n}\ntouch owned\n{\n(',
  '\u001b]0;title\u0007',
  `${open} secrets.KEY }}`,
  "\n    steps:\n      - run: 'touch owned'",
  '&anchor *alias !!tag',
];
const folder = mkdtempSync(join(tmpdir(), 'hostile-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const place = { stack: join(folder, 'stack'), from: folder };
const hostile = (payload: string) =>
  assemble([
    {
      node: node('a', {
        name: payload,
        version: payload,
        parameters: { [payload]: payload },
        arch: { platform: payload, os: payload, target: payload },
      }),
      root: true,
      dependencies: [],
    },
  ]);
const ci = (payload: string) => ({
  'pipeline-gen': [
    {
      'build-job': {
        'script:': ['true'],
        tags: [payload],
        image: payload,
        variables: { GIVEN: payload },
        after_script: ['true'],
      },
    },
  ],
});
const input = (payload: string) => inputOf(hostile(payload), ci(payload), { folder, buildGroup: payload });

describe.each(payloads)('with the name %j', (payload) => {
  it('GitLab gets it as text', () => {
    const [file] = engines.gitlab.files(input(payload), place);
    const pipeline = parse(file!.text);
    const [job] = Object.values<{ script?: string[]; variables: Record<string, string> }>(pipeline).filter(
      (each) => each.script?.[0] === 'true',
    );
    expect(job).toMatchObject({
      script: ['true'],
      image: payload,
      tags: [payload],
      variables: { GIVEN: payload, SPACK_JOB_SPEC_PKG_NAME: payload },
    });
  });

  it('GitHub gets it as text, and takes none for an expression', () => {
    const [file] = engines.github.files(input(payload), place);
    expect(validateWorkflow(file!.text).errors).toEqual([]);
    const workflow = parse(file!.text);
    const [id, job] = Object.entries<{ name: string; env: object; steps: { run?: string }[] }>(
      workflow.jobs,
    )[0]!;
    expect(id).toMatch(/^[A-Za-z_][\w-]*$/);
    expect(job.steps.map((step) => step.run).filter(Boolean)).toEqual(['true', 'true']);
    for (const text of [job.name, workflow.concurrency.group, ...Object.values(job.env)]) {
      expect(
        text.replaceAll(`${open} '${open}' }}`, '').replaceAll(`${open} github.ref }}`, ''),
      ).not.toContain(open);
    }
  });

  it('Slurm runs none of it', () => {
    const [file] = engines.slurm.files(input(payload), place);
    const script = join(folder, 'script.sh');
    writeFileSync(script, file!.text);
    // sbatch runs what it is given at once, as Slurm would later.
    for (const [name, text] of Object.entries({ sbatch: 'bash >/dev/null 2>&1; echo 1', squeue: 'true' })) {
      writeFileSync(join(folder, name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
    }
    const env = { PATH: `${folder}:${process.env.PATH}`, HOME: folder };
    for (const command of ['submit', 'status']) {
      const { status, stdout, stderr } = spawnSync('bash', [script, command], {
        cwd: folder,
        env,
        encoding: 'utf8',
      });
      expect([status, stderr]).toEqual([0, '']);
      expect(stdout).not.toContain('\u001b');
    }
    expect(existsSync(join(folder, 'owned'))).toBe(false);
    rmSync(join(folder, '.stackwright-slurm'), { recursive: true, force: true });
  });
});

describe('a variable whose name is a command', () => {
  const name = 'X=1; touch owned; Y';

  it('is refused in the ci section', () => {
    const section = { 'pipeline-gen': [{ 'build-job': { variables: { [name]: '1' } } }] };
    expect(() => inputOf(hostile('a'), section)).toThrowError(/no name of a variable/);
  });

  it.each(['slurm', 'github'] as const)('is refused by %s, wherever it comes from', (engine) => {
    const env = { [name]: '1' };
    const forwarded = inputOf(hostile('a'), ci('a'), { env, flags: { forwardVariables: [name] }, folder });
    expect(() => engines[engine].files(forwarded, place)).toThrowError(/cannot be the variable/);
  });
});
