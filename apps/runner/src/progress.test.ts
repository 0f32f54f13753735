import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Context } from './context.js';
import { displayFor } from './progress.js';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] });
});
afterEach(() => {
  vi.useRealTimers();
});

/** What is written off a terminal while `work` does its phase. */
async function written(
  work: Parameters<ReturnType<typeof displayFor>['phase']>[1],
  env: NodeJS.ProcessEnv = {},
): Promise<string> {
  const stderr = new PassThrough();
  await displayFor({ stderr, env } as unknown as Context).phase('Build', work);
  return String(stderr.read() ?? '');
}

describe('progress off a terminal', () => {
  it('tells of every start, and each minute of silence what goes on', async () => {
    const text = await written(async (report) => {
      report.started('▸ hello started');
      report.update('0 of 2, building hello 2 min 00 s');
      vi.advanceTimersByTime(125_000);
    });
    expect(text.split('\n').slice(0, 3)).toEqual([
      '  ▸ hello started',
      '  … Build: 0 of 2, building hello 2 min 00 s (60.0 s)',
      '  … Build: 0 of 2, building hello 2 min 00 s (120.0 s)',
    ]);
  });

  it('says nothing more after the end', async () => {
    const text = await written(async () => {});
    vi.advanceTimersByTime(600_000);
    expect(text).toMatch(/^✓ Build \(\S+ s\)\n$/);
  });

  const build: Parameters<typeof written>[0] = async (report) => {
    report.output('==> one\n\u001b[31mred\u001b[0m\r\n::error::no\n');
    report.output('rest');
    report.line('done');
  };

  it('streams what a job prints, without control sequences', async () => {
    const text = await written(build);
    expect(text.split('\n').slice(0, 5)).toEqual(['==> one', 'red', '::error::no', 'rest', '  done']);
  });

  it('folds it in a job of GitLab', async () => {
    const text = await written(build, { GITLAB_CI: 'true' });
    expect(text).toMatch(
      /^section_start:\d+:(stackwright_\w+)\r\u001b\[0KBuild\n==> one\nred\n::error::no\nrest\nsection_end:\d+:\1\r\u001b\[0K\n {2}done\n/,
    );
  });

  it('folds it in a job of GitHub, where it cannot give commands to the runner', async () => {
    const text = await written(build, { GITHUB_ACTIONS: 'true' });
    expect(text).toMatch(
      /^::group::Build\n::stop-commands::(\S+)\n==> one\nred\n::error::no\nrest\n::\1::\n::endgroup::\n {2}done\n/,
    );
  });
});
