import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { engines, graphOf, jobAttributes, only, parseCi, prune, readSettings } from '@stackwright/job-graph';
import { parseLock } from '@stackwright/spack-env';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';

const gitlab = fileURLToPath(new URL('../node_modules/.bin/gitlab-ci-local', import.meta.url));
const lock = fileURLToPath(new URL('../../../stacks/quickstart/spack.lock', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'hostile-gitlab-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Pieces that mean something to a shell or to YAML. Where one is run, a file `owned` comes to be. */
const pieces = [
  '$(touch owned)',
  '`touch owned`',
  '; touch owned;',
  '\ntouch owned\n',
  '&& touch owned &&',
  '| touch owned |',
  '\nEOF\ntouch owned\n',
  "'",
  '"',
  '\\',
  '\n',
  '#',
  ': ',
  '- ',
  '*a',
  '{',
  ')',
  '%s',
  '€',
];
const text = fc
  .array(fc.oneof({ arbitrary: fc.constantFrom(...pieces), weight: 3 }, fc.string({ maxLength: 6 })), {
    maxLength: 6,
  })
  .map((parts) => parts.join(''));

const word = (value: string) => `'${value.replaceAll("'", "'\\''")}'`;

/** GitLab's file of one job, which writes down what came of each text as a word of a command. */
function pipelineOf(values: readonly string[], words: readonly string[], work: string): string {
  const all = graphOf(parseLock(readFileSync(lock, 'utf8')));
  const pruned = prune(all, [only((job) => job.node.name === 'libgreet')]);
  const ci = parseCi({
    'rebuild-index': false,
    'pipeline-gen': [
      {
        'build-job': {
          variables: Object.fromEntries(values.map((value, at) => [`V${at}`, value])),
          before_script: words.map((value) => `printf '%s\\0' ${word(value)} >> "$CI_PROJECT_DIR/../seen"`),
          'script:': values.map((_, at) => `test -n "x$V${at}"`),
        },
      },
    ],
  });
  const input = {
    pruned,
    ci,
    attributes: jobAttributes(pruned, ci, { matches: () => false }),
    settings: readSettings({}, {}, work),
    mirrors: { destination: { fetch: 's3://b/m', push: 's3://b/m' } },
    needsRebuild: () => true,
  };
  return engines.gitlab.files(input, { stack: work, from: work })[0]!.text;
}

const ready = existsSync(gitlab) && existsSync('/usr/bin/rsync');
describe.skipIf(!ready)('with gitlab-ci-local (apt-get install rsync)', () => {
  it('GitLab runs no text, and leaves commands as they are', () => {
    let count = 0;
    fc.assert(
      fc.property(fc.array(text, { minLength: 3, maxLength: 10 }), (values) => {
        const work = join(folder, String(count++), 'project');
        mkdirSync(work, { recursive: true });
        // gitlab-ci-local shows each command by a shell that runs what stands in backticks, even within quotes.
        const words = values.map((value) => value.replaceAll('`', '"'));
        writeFileSync(join(work, '.gitlab-ci.yml'), pipelineOf(values, words, work));
        const git = (...args: string[]) =>
          execFileSync('git', ['-C', work, '-c', 'user.name=t', '-c', 'user.email=t@t', ...args], {
            stdio: 'pipe',
          });
        git('init', '--quiet');
        git('remote', 'add', 'origin', 'https://gitlab.example.invalid/group/project.git');
        git('add', '.');
        git('commit', '--quiet', '-m', 'x');
        const { status, stdout, stderr } = spawnSync(
          gitlab,
          [
            '--force-shell-executor',
            '--no-shell-isolation',
            '--ignore-predefined-vars',
            'CI_PIPELINE_SOURCE',
          ],
          { cwd: work, env: { ...process.env, CI: '', HOME: work }, encoding: 'utf8' },
        );
        expect({ status, stdout, stderr }).toMatchObject({ status: 0 });
        expect(readFileSync(join(work, '../seen'), 'utf8').split('\0').slice(0, -1)).toEqual(words);
        expect(existsSync(join(work, 'owned'))).toBe(false);
      }),
      { numRuns: 6 },
    );
  });
});
