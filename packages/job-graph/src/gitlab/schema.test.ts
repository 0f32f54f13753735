import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { inputOf } from '../engine/engines.test.support.js';
import { graph, mini } from '../graph/graphs.test.support.js';
import { gitlabFiles } from './files.js';

const run = promisify(execFile);
const require = createRequire(import.meta.url);
const program = join(dirname(require.resolve('gitlab-ci-local/package.json')), 'dist/index.js');
const hasRsync = (() => {
  try {
    execFileSync('rsync', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
})();

/** gitlab-ci-local checks a file against GitLab's own JSON schema before it does anything with it. */
describe.skipIf(!hasRsync)("GitLab's schema (gitlab-ci-local; apt-get install rsync)", () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'schema-'));
    const git = (...args: string[]) =>
      execFileSync('git', ['-C', folder, '-c', 'user.name=t', '-c', 'user.email=t@t', ...args], {
        stdio: 'pipe',
      });
    git('init', '--quiet');
    git('commit', '--quiet', '--allow-empty', '-m', 'one');
    git('remote', 'add', 'origin', 'https://gitlab.example.invalid/group/project.git');
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const check = async (text: string) => {
    writeFileSync(join(folder, 'jobs.yml'), text);
    const { stdout, stderr } = await run(
      process.execPath,
      [program, '--file', 'jobs.yml', '--list-csv-all'],
      {
        cwd: folder,
        env: { ...process.env, CI: '' },
      },
    );
    return stdout + stderr;
  };
  const ci = {
    'temporary-storage-url-prefix': 's3://tmp',
    'pipeline-gen': [
      {
        'build-job': {
          image: { name: 'x', entrypoint: [''] },
          tags: ['a'],
          variables: { A: 'yes', N: 0 },
          before_script: [['echo 1'], 'echo 2'],
          retry: { 'when:': ['api_failure'] },
          id_tokens: { T: { aud: 'x' } },
        },
      },
      { 'signing-job': { script: ['sign'] } },
      { 'copy-job': { script: ['copy'] } },
    ],
  };
  const run1 = { CI_JOB_NAME: 'generate', CI_PIPELINE_ID: '7' };

  it('would find a wrong file', async () => {
    await expect(check('a:\n  scriptx: [b]\n')).rejects.toThrowError();
  });

  it.each([
    ['a pipeline', inputOf(mini, ci, { env: run1, buildGroup: 'Group' })],
    ['a protected one', inputOf(mini, ci, { env: { ...run1, SPACK_PIPELINE_TYPE: 'PROTECTED_BRANCH' } })],
    ['one with nothing to do', inputOf(graph({}), ci)],
    [
      'a copy of everything',
      {
        ...inputOf(mini, ci, { env: { ...run1, SPACK_PIPELINE_TYPE: 'COPY_ONLY' } }),
        mirrors: { destination: { fetch: 's3://a', push: 's3://a' }, source: { fetch: 's3://b' } },
      },
    ],
  ])('passes for %s', async (_name, input) => {
    const { files } = gitlabFiles(input, 'jobs.yml');
    expect(await check(files[0]!.text)).toContain('stage');
  });

  it('passes for every file of a pipeline in waves, and for one with a default', async () => {
    const input = inputOf(mini, ci, { buildGroup: 'Group' });
    const whole = Buffer.byteLength(gitlabFiles(input, 'jobs.yml').files[0]!.text);
    for (const limit of [whole - 1, 4000]) {
      const { files } = gitlabFiles(input, 'jobs.yml', limit);
      // What starts the waves names files that only exist in GitLab.
      for (const file of files.length > 1 ? files.slice(1) : files) {
        expect(await check(file.text)).toContain('stage');
      }
    }
  });
});
