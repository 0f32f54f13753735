import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findProgram } from '@stackwright/testing';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runAct } from '../github/act.test.support.js';
import { assemble } from '../graph/graph.js';
import { node } from '../graph/graphs.test.support.js';
import { engines } from './engines.js';
import { inputOf } from './engines.test.support.js';
import { hostileText } from './hostile.test.support.js';
import { shellWord } from './shell.js';

const texts = fc.array(hostileText, { minLength: 4, maxLength: 12 });

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hostile-property-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** A pipeline of one job, which writes down what came of each text: as a variable, and as a word of a command. */
function pipelineOf(values: readonly string[], work: string, words = values) {
  const [name = 'a', version = '1'] = values;
  const graph = assemble([
    { node: node('a', { name, version, hash: 'a'.repeat(32) }), root: true, dependencies: [] },
  ]);
  const variables = Object.fromEntries(values.map((value, at) => [`V${at}`, value]));
  const seen = join(work, 'seen');
  const ci = {
    'rebuild-index': false,
    'pipeline-gen': [
      {
        'build-job': {
          tags: ['ubuntu-latest'],
          variables,
          before_script: words.map((value) => `printf '%s\\0' ${shellWord(value)} >> ${seen}`),
          'script:': values.map((_, at) => `printf '%s\\0' "$V${at}" >> ${seen}`),
        },
      },
    ],
  };
  const place = { stack: join(work, 'stack'), from: work };
  return { input: inputOf(graph, ci, { folder: work, buildGroup: name }), place, seen };
}

function expectOnlyText(values: readonly string[], work: string, seen: string, words = values): void {
  expect(readFileSync(seen, 'utf8').split('\0').slice(0, -1)).toEqual([...words, ...values]);
  for (const place of [work, join(work, 'stack')]) expect(existsSync(join(place, 'owned'))).toBe(false);
}

it('Slurm runs no text, and gives each to the job as it is', () => {
  // sbatch runs what it is given at once, as Slurm would later.
  for (const [name, text] of Object.entries({ sbatch: 'bash >/dev/null 2>&1; echo 1', squeue: 'true' })) {
    writeFileSync(join(folder, name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
  }
  let count = 0;
  fc.assert(
    fc.property(texts, (values) => {
      const work = join(folder, String(count++));
      mkdirSync(join(work, 'stack'), { recursive: true });
      const { input, place, seen } = pipelineOf(values, work);
      const script = join(work, 'script.sh');
      writeFileSync(script, engines.slurm.files(input, place)[0]!.text);
      expect(spawnSync('bash', ['-n', script], { encoding: 'utf8' })).toMatchObject({
        status: 0,
        stderr: '',
      });
      for (const verb of ['submit', 'status', 'cancel']) {
        const { status, stdout, stderr } = spawnSync('bash', [script, verb], {
          cwd: work,
          env: { PATH: `${folder}:${process.env.PATH}`, HOME: work },
          encoding: 'utf8',
        });
        expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
        expect(stdout).not.toContain('\u001b');
      }
      expectOnlyText(values, work, seen);
    }),
    { numRuns: 25 },
  );
});

const act = findProgram('act');
describe.skipIf(!act)('with act (go install github.com/nektos/act@latest)', () => {
  it('GitHub runs no text, and gives each to the job as it is', () => {
    let count = 0;
    fc.assert(
      fc.property(texts, (words) => {
        const work = join(folder, String(count++));
        mkdirSync(join(work, 'stack'), { recursive: true });
        // act evaluates variables a second time, after what stands for the start of an expression is that start.
        const values = words.map((word) => word.replaceAll(`$${'{{'}`, '{{'));
        const { input, place, seen } = pipelineOf(values, work, words);
        const { status, output } = runAct(
          act!,
          work,
          engines.github.files(input, { ...place, output: '.github/workflows/x.yml' }),
        );
        expect({ status, output }).toMatchObject({ status: 0 });
        expectOnlyText(values, work, seen, words);
      }),
      { numRuns: 8 },
    );
  });
});
