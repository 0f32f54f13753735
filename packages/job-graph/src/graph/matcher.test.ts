import { parseLock } from '@stackwright/spack-env';
import { describe, expect, it } from 'vitest';
import { hashOf, mini, miniLock } from './graphs.test.support.js';
import { matcherOf } from './matcher.js';

const matches = matcherOf(miniLock);
const names = (text: string) =>
  [...mini.jobs.values()]
    .map((job) => job.node)
    .filter((node) => matches(node, text))
    .map((node) => node.name)
    .sort();

describe('matcherOf', () => {
  it.each([
    ['libgreet', ['libgreet']],
    ['libgreet flavor=fancy', ['libgreet']],
    ['libgreet flavor=plain', []],
    ['hello-cli@2:', ['hello-cli']],
    ['hello-cli@3:', []],
    ['@2026:', ['greet-suite']],
    ['build_system=bundle', ['greet-suite']],
    ['^libshout', ['greet-suite', 'libshout', 'shout-cli'].filter((name) => name !== 'libshout')],
    ['c', ['gcc']],
    ['mpi', []],
  ])('%s', (text, expected) => {
    expect(names(text)).toEqual(expected);
  });

  it('knows what a node provides though no other node uses it, where the lock says so (Spack 1.3)', () => {
    const lock = parseLock(
      JSON.stringify({
        _meta: { 'file-type': 'spack-lockfile', 'lockfile-version': 8, 'specfile-version': 6 },
        roots: [{ hash: 'm', spec: 'mpich' }],
        concrete_specs: {
          m: { name: 'mpich', version: '4', provided_virtuals: ['mpi@3'] },
          z: { name: 'zlib', version: '1' },
        },
      }),
    );
    const found = [...lock.nodes.values()].filter((node) => matcherOf(lock)(node, 'mpi'));
    expect(found.map((node) => node.name)).toEqual(['mpich']);
  });

  it('takes the compiler for a dependency', () => {
    expect(matches(mini.jobs.get(hashOf(mini, 'libgreet'))!.node, '%gcc@12')).toBe(true);
    expect(matches(mini.jobs.get(hashOf(mini, 'compiler-wrapper'))!.node, '%gcc@12')).toBe(false);
  });

  it('refuses what is no spec', () => {
    expect(() => names('a@@b')).toThrowError();
  });
});
