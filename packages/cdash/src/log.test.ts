import { describe, expect, it } from 'vitest';
import { logTexts, readBuildLog, readLogTexts } from './index.js';
import { log } from './testing.js';

describe('a build log', () => {
  it('has the phases that Spack names', () => {
    expect(readBuildLog(log).phases).toEqual([
      { name: 'configure', from: 1, to: 4, errors: 0, warnings: 1, text: expect.stringMatching(/no zstd$/) },
      { name: 'build', from: 5, to: 10, errors: 2, warnings: 1, text: expect.stringMatching(/Error 1$/) },
    ]);
  });

  it('has its findings with place and context, without colours', () => {
    const { findings } = readBuildLog(log);
    expect(findings.map(({ kind, line, file, fileLine }) => ({ kind, line, file, fileLine }))).toEqual([
      { kind: 'warning', line: 4, file: undefined, fileLine: undefined },
      { kind: 'warning', line: 8, file: 'a.c', fileLine: 3 },
      { kind: 'error', line: 9, file: 'src/b.c', fileLine: 12 },
      { kind: 'error', line: 10, file: undefined, fileLine: undefined },
    ]);
    expect(findings[0]!.text).toBe('configure: WARNING: no zstd');
    expect(findings[2]!.after).toEqual(['make: *** [Makefile:7: b.o] Error 1']);
  });

  it.each([
    'a.c:1:2: error: expected ;',
    'a.f90:10:4: Fatal Error: no module',
    'a.cpp(12): error C2065: undeclared',
    '"a.c", line 3: error #20: undefined',
    'error[E0308]: mismatched types',
    'CMake Error at CMakeLists.txt:3 (find_package):',
    'configure: error: no acceptable C compiler',
    '/usr/bin/ld: cannot find -lfoo',
    "a.o: undefined reference to `f'",
    'collect2: error: ld returned 1 exit status',
    'make[2]: *** [all] Error 2',
    'ninja: build stopped: subcommand failed.',
    'FAILED: a.o',
    'Traceback (most recent call last):',
    'ModuleNotFoundError: No module named x',
    '==> Error: ProcessError: Command exited with status 2',
    'sh: 1: cmake: not found: No such file or directory',
    './run: Permission denied',
    'Segmentation fault (core dumped)',
  ])('finds the error in: %s', (line) => {
    expect(readBuildLog(line).findings).toMatchObject([{ kind: 'error' }]);
  });

  it.each([
    'checking for error: no',
    'cc -Werror=format -c error.c',
    '-- Performing Test HAVE_ERROR',
    '0 errors, 0 warnings',
    'make: [clean] Error 1 (ignored)',
    'installing error.h',
    'Compiling errors.rs',
    'linking liberror.so',
  ])('finds nothing in: %s', (line) => {
    expect(readBuildLog(line).findings).toEqual([]);
  });

  it.each([
    'a.c:1: warning: unused',
    'CMake Deprecation Warning at a:1 (x):',
    'WARNING: no doc',
    'a.c(3): warning #161: pragma',
  ])('finds the warning in: %s', (line) => {
    expect(readBuildLog(line).findings).toMatchObject([{ kind: 'warning' }]);
  });

  it('is read in a moment, whatever it holds', () => {
    const lines = [' '.repeat(3000), `${'a:'.repeat(1500)} error`, '('.repeat(3900), `"${'\\'.repeat(3000)}`];
    expect(readBuildLog(lines.join('\n').repeat(50)).lines).toBeGreaterThan(100);
  });

  it('keeps the first and the last of many findings, and counts them all', () => {
    const lines = Array.from({ length: 1000 }, (_, at) => `a.c:${at + 1}: warning: w`).join('\n');
    const { findings, phases } = readBuildLog(lines);
    expect(phases).toMatchObject([{ warnings: 1000, errors: 0 }]);
    expect(findings.map(({ line }) => line).slice(49, 53)).toEqual([50, 51, 951, 952]);
  });

  it('may have lines of any length, of which the beginning counts', () => {
    const { lines, findings } = readBuildLog(`${'x'.repeat(5_000_000)}\na.c:1: error: no\nlast`);
    expect(lines).toBe(3);
    expect(findings).toMatchObject([{ line: 2, after: ['last'] }]);
    expect(findings[0]?.before[0]).toHaveLength(1000);
  });

  it('starts where the build of this package does, with the numbers of the whole log', () => {
    const text = `==> Installing zlib-1-aaa\na.c:1: error: of another\n==> Installing tcl-8-bbb\n${log}`;
    const own = readBuildLog(text, { start: '==> Installing tcl-8-bbb' });
    expect(own.findings.map(({ line }) => line)).toEqual([7, 11, 12, 13]);
    expect(own.findings[0]?.before.join()).not.toMatch(/of another/);
    expect(own.phases.map(({ name }) => name)).toEqual(['', 'configure', 'build']);
  });

  it('is told to be missing or unreadable, and never taken for empty', async () => {
    await expect(readLogTexts(logTexts('/nowhere/log.txt'))).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(readLogTexts(logTexts('/'))).rejects.toMatchObject({ code: 'EISDIR' });
  });

  it('of 200 MB is read without having it in memory', async () => {
    const piece = 'cc -O2 -c something.c -o something.o -Iinclude -DHAVE_CONFIG\n'.repeat(16_000);
    const before = process.memoryUsage().heapUsed;
    let most = 0;
    const pieces = function* () {
      for (let at = 0; at < 200; at += 1) {
        // Each has its own place in memory, as when it comes from a file.
        yield Buffer.from(`${piece}a.c:${at + 1}: error: number ${at}\n`).toString();
        most = Math.max(most, process.memoryUsage().heapUsed - before);
      }
    };
    const read = await readLogTexts(pieces());
    expect(read).toMatchObject({ lines: 200 * 16_001, phases: [{ errors: 200 }] });
    expect(read.findings.at(-1)).toMatchObject({ line: 200 * 16_001, fileLine: 200 });
    expect(read.phases[0]?.text.length).toBeLessThan(150_000);
    expect(most).toBeLessThan(200e6);
  });
});
