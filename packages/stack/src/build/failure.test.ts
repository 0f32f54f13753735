import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SpackError } from '@stackwright/spack';
import { afterAll, describe, expect, it } from 'vitest';
import { attempt } from './attempts.js';
import { reportFailure } from './failure.js';
import { readBlocks } from './log-blocks.js';

const folder = mkdtempSync(join(tmpdir(), 'failure-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const log = join(folder, 'log.txt');
const failed = new SpackError('command-failed', 'spack install failed', { exitCode: 1 });
const kindOf = async (text: string, error: Error = failed, settings = {}) => {
  writeFileSync(log, text);
  return (await reportFailure(error, log, 0, settings)).kind;
};

describe('the kind of a failure', () => {
  it.each([
    ['==> Error: FetchError: All fetchers failed for spack-stage-zlib-1.3', 'fetch'],
    ['c++: fatal error: Killed signal terminated program cc1plus', 'out of memory'],
    ["foo.c:1: error: 'x' undeclared", 'compiler'],
    ['cp: error writing a: No space left on device', 'disk'],
    ['configure: error: no acceptable C compiler found', 'configure'],
    [
      '==> Error: Failed to install zlib due to X: No binary found when cache-only was specified',
      'missing dependency',
    ],
    ['nothing that says anything', 'other'],
  ])('of %s is %s', async (line, name) => {
    expect((await kindOf(`first\n${line}\nlast\n`)).name).toBe(name);
  });

  it('is told by how the command ended, before anything that it printed', async () => {
    const error = (code: SpackError['code'], signal?: number) => new SpackError(code, 'it', { signal });
    expect((await kindOf('a.c:1: error: x\n', error('silent'))).name).toBe('silence');
    expect((await kindOf('a.c:1: error: x\n', error('timed-out'))).name).toBe('time-out');
    expect((await kindOf('', error('command-failed', 9))).name).toBe('killed');
  });

  it('can be added and changed by a stack', async () => {
    const settings = { licence: { match: '^FLEXlm', retries: 4 }, compiler: { retries: 1 } };
    const text = 'x\nFLEXlm says no\na.c:1: error: x\n';
    expect(await kindOf(text, failed, settings)).toMatchObject({ name: 'licence', retries: 4 });
    expect(await kindOf('a.c:1: error: x\n', failed, settings)).toMatchObject({
      name: 'compiler',
      retries: 1,
    });
  });
});

describe('the first error of a log', () => {
  it('is found in the middle of a log of many pieces, with its line and three lines around it', async () => {
    const noise = 'gcc -c something.c\n'.repeat(100_000);
    writeFileSync(
      log,
      `${noise}one\ntwo\nthree\nfour\nmain.c:7:3: error: oops\nfive\n${noise}==> Error: wrapped\n`,
    );
    expect((await reportFailure(failed, log, 0, {})).first).toEqual({
      line: 100_005,
      text: 'main.c:7:3: error: oops',
      before: ['two', 'three', 'four'],
      after: ['five', 'gcc -c something.c', 'gcc -c something.c'],
    });
  });

  it('is one of the attempt that is asked about', async () => {
    const before = 'a.c:1: error: first\n';
    writeFileSync(log, `${before}more\nb.c:2: error: second\n`);
    const { first } = await reportFailure(failed, log, before.length, {});
    expect(first).toMatchObject({ line: 3, text: 'b.c:2: error: second' });
  });

  it('is looked for in whole lines: no character is lost between pieces', async () => {
    const text = `${'ä'.repeat(700_000)}\n${'ö'.repeat(900_000)}\nend`;
    writeFileSync(log, text);
    let read = '';
    for await (const block of readBlocks(log)) read += block.text;
    expect(read === text).toBe(true);
  });
});

describe('attempts', () => {
  const options = {
    limits: { buildJobs: 8 },
    failures: {},
    log,
    signal: new AbortController().signal,
    onRetry: () => {},
  };
  const failing = (text: string, times: number) => {
    const jobs: (number | undefined)[] = [];
    const work = async (how: { jobs: number | undefined }) => {
      jobs.push(how.jobs);
      if (jobs.length > times) return;
      writeFileSync(log, text, { flag: 'a' });
      throw failed;
    };
    writeFileSync(log, '');
    return { jobs, work };
  };

  it('are made again after a fetch that failed', async () => {
    const { jobs, work } = failing('==> Error: FetchError: HTTP Error 503\n', 1);
    await attempt(work, options);
    expect(jobs).toEqual([8, 8]);
  });

  it('are made with fewer processes when memory ran out', async () => {
    const { jobs, work } = failing('g++: fatal error: Killed signal terminated program cc1plus\n', 2);
    await attempt(work, options);
    expect(jobs).toEqual([8, 4, 2]);
  });

  it('are not made again when the sources are wrong', async () => {
    const { jobs, work } = failing("a.c:1: error: expected ';'\n", 9);
    await expect(attempt(work, options)).rejects.toMatchObject({
      code: 'build-failed',
      message: "a.c:1: error: expected ';'",
      details: { failure: { kind: 'compiler', attempts: 1, log } },
    });
    expect(jobs).toEqual([8]);
  });

  it('end when they are stopped', async () => {
    const stop = new AbortController();
    const { work } = failing('FetchError\n', 9);
    const all = attempt(work, { ...options, signal: stop.signal, onRetry: () => stop.abort() });
    await expect(all).rejects.toMatchObject({ name: 'AbortError' });
  });
});
