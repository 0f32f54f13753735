import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findProgram } from '@stackwright/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { inputOf } from '../engine/engines.test.support.js';
import { graph } from '../graph/graphs.test.support.js';
import { runAct } from './act.test.support.js';
import { githubFiles } from './files.js';

const act = findProgram('act');
const diamond = graph({ top: ['left', 'right'], left: ['base'], right: ['base'] });

describe.skipIf(!act)('act (go install github.com/nektos/act@latest)', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'act-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it.each([
    ['one file', 512_000, 1],
    ['files that call each other', 9_500, 3],
  ])(
    'runs a workflow in %s to its end, each job with the stackwright that it brings',
    (_name, limit, count) => {
      const log = join(folder, 'log');
      const program = join(folder, 'stackwright.sh');
      writeFileSync(program, `#!/bin/sh\necho "$1 $2 $SPACK_JOB_SPEC_PKG_NAME $SPACK_REF" >> ${log}\n`);
      chmodSync(program, 0o755);
      const input = inputOf(
        diamond,
        {
          'pipeline-gen': [
            { 'any-job': { tags: ['ubuntu-latest'] } },
            { 'build-job': { 'script:': ['stackwright rebuild'] } },
          ],
        },
        {
          folder,
          mirror: 's3://bucket/mirror',
          setup: { stackwright: { version: '0.1.0', command: program }, spack: { ref: 'v1.1.0' } },
        },
      );
      const files = githubFiles(input, { name: 'mine', stack: 'stack' }, '.github/workflows/mine.yml', limit);
      expect(files.length).toBeGreaterThanOrEqual(count);
      const { status, output } = runAct(act!, folder, files);
      expect(output).not.toContain('Job failed');
      expect(status).toBe(0);
      const order = readFileSync(log, 'utf8')
        .trim()
        .split('\n')
        .map((line) => line.trim());
      expect(order[0]).toBe('rebuild  base v1.1.0');
      expect(order.slice(1, 3).sort()).toEqual(['rebuild  left v1.1.0', 'rebuild  right v1.1.0']);
      expect(order.slice(3)).toEqual(['rebuild  top v1.1.0', 'mirror index  v1.1.0']);
    },
  );
});
