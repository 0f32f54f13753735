import { describe, expect, it } from 'vitest';
import { parseLock, SpackEnvError, topological } from './index.js';

const lock = (nodes: object, roots: object[] = [], version = 6) =>
  JSON.stringify({
    _meta: { 'file-type': 'spack-lockfile', 'lockfile-version': version, 'specfile-version': 5 },
    roots,
    concrete_specs: nodes,
  });
const node = (name: string, ...dependencies: string[]) => ({
  name,
  version: '1',
  arch: { platform: 'linux', platform_os: 'debian12', target: 'x86_64' },
  dependencies: dependencies.map((hash) => ({
    name: hash,
    hash,
    parameters: { deptypes: ['link'], virtuals: [] },
  })),
});

describe('parseLock', () => {
  it('orders dependencies before dependents', () => {
    const { nodes } = parseLock(lock({ a: node('a', 'b', 'c'), b: node('b', 'c'), c: node('c') }));
    expect(topological(nodes).map((n) => n.name)).toEqual(['c', 'b', 'a']);
  });

  it.each([
    ['broken JSON', '{', 'broken-json'],
    ['another file', '{"_meta":{"file-type":"x"}}', 'not-a-lock'],
    ['a newer version', lock({}, [], 7), 'unknown-lock-version'],
    ['an edge to nowhere', lock({ a: node('a', 'b') }), 'missing-node'],
    ['a root to nowhere', lock({}, [{ hash: 'x', spec: 'x' }]), 'missing-node'],
  ])('refuses %s', (_name, text, code) => {
    expect(() => parseLock(text)).toThrowError(SpackEnvError);
    try {
      parseLock(text);
    } catch (error) {
      expect((error as SpackEnvError).findings[0]!.code).toBe(code);
    }
  });
});
