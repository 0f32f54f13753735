import { describe, expect, it } from 'vitest';
import { readBuildLog } from './index.js';
import { log } from './testing.js';

describe('a build log', () => {
  it('has the phases that Spack names', () => {
    expect(readBuildLog(log).phases).toEqual([
      { name: 'configure', from: 1, to: 4 },
      { name: 'build', from: 5, to: 10 },
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
    expect(readBuildLog(lines.join('\n').repeat(50)).lines.length).toBeGreaterThan(100);
  });
});
