import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { groupsOf, type Lock, lockOfGroups, parseLock, SpackEnvError, shippedLock } from '../index.js';

const fixture = (name: string) =>
  parseLock(readFileSync(new URL(`../../fixtures/${name}/spack.lock`, import.meta.url), 'utf8'));
const names = ({ nodes }: Lock) => [...nodes.values()].map(({ name }) => name).sort();

/** A compiler with a library of its own in one group; what it builds, and links its runtime, in another. */
const withCompiler = (types: readonly string[] = ['build']) => {
  const node = (name: string, dependencies: [string, readonly string[]][] = []) => ({
    name,
    version: '1',
    dependencies: dependencies.map(([hash, deptypes]) => ({
      name: hash,
      hash,
      parameters: { deptypes, virtuals: [] },
    })),
  });
  return parseLock(
    JSON.stringify({
      _meta: { 'file-type': 'spack-lockfile', 'lockfile-version': 7, 'specfile-version': 5 },
      roots: [
        { hash: 'gcc', spec: 'gcc', group: 'compilers' },
        { hash: 'app', spec: 'app' },
      ],
      concrete_specs: {
        app: node('app', [
          ['gcc', types],
          ['runtime', ['link']],
          ['cmake', ['build']],
        ]),
        gcc: node('gcc', [['mpfr', ['link']]]),
        mpfr: node('mpfr'),
        runtime: node('runtime', [['gcc', ['build']]]),
        cmake: node('cmake'),
      },
    }),
  );
};

describe('the groups of a lock', () => {
  it('are those of its roots, in order', () => {
    expect(groupsOf(fixture('lock-7'))).toEqual(['suite', 'tools']);
    expect(groupsOf(withCompiler())).toEqual(['compilers', 'default']);
  });

  it.each(['lock-7', 'lock-8'])('hold their roots and what these need: %s', (name) => {
    const tools = lockOfGroups(fixture(name), ['tools']);
    expect(tools.roots.map(({ spec }) => spec)).toEqual(['hello-static']);
    expect(names(tools)).toEqual([
      'compiler-wrapper',
      'gcc',
      'gcc-runtime',
      'glibc',
      'gmake',
      'hello-static',
      'libgreet',
    ]);
    const all = lockOfGroups(fixture(name), ['tools', 'suite']);
    expect([...all.nodes.keys()]).toEqual([...fixture(name).nodes.keys()]);
  });

  it('hold a needed compiler where it has to be built, and ship without it and what only it needs', () => {
    expect(names(lockOfGroups(withCompiler(), ['default']))).toEqual([
      'app',
      'cmake',
      'gcc',
      'mpfr',
      'runtime',
    ]);
    expect(names(shippedLock(withCompiler(), ['default']))).toEqual(['app', 'cmake', 'runtime']);
    expect(names(shippedLock(withCompiler(['build', 'run']), ['default']))).toContain('mpfr');
    expect(names(shippedLock(withCompiler(), ['default', 'compilers']))).toEqual(names(withCompiler()));
  });

  it.each([lockOfGroups, shippedLock])('are named where another is asked for', (choose) => {
    const refused = (() => {
      try {
        choose(fixture('lock-7'), ['tools', 'apps']);
      } catch (error) {
        return error;
      }
    })();
    expect(refused).toBeInstanceOf(SpackEnvError);
    expect(refused).toMatchObject({ code: 'unknown-group', hint: 'It has suite, tools.' });
  });
});
