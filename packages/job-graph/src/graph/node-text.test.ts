import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { concreteSpec, format, parseLock } from '@stackwright/spack-env';
import { describe, expect, it } from 'vitest';
import { graph, hashOf, mini, miniLock, node, shared } from './graphs.test.support.js';
import { architectureOf, compilerOf, specText, variantsOf } from './node-text.js';

describe('specText', () => {
  it('prints a node without what is below it', () => {
    expect(specText(mini.jobs.get(hashOf(mini, 'libgreet'))!.node)).toBe(
      'libgreet@1.2.0+shared build_system=generic flavor=fancy arch=linux-debian12-x86_64_v3',
    );
  });

  it('quotes what Spack quotes', () => {
    const odd = node('a', { parameters: { x: 'a b', y: "it's", list: ['b', 'a'], cflags: ['-O2', '-g'] } });
    expect(specText(odd)).toBe("a@1 list:=a,b x='a b' y=\"it's\" cflags='-O2 -g' arch=linux-debian12-x86_64");
  });
});

describe('compilerOf', () => {
  it('is the provider of C, or nothing', () => {
    const find = (hash: string) => miniLock.nodes.get(hash);
    const of = (name: string) => compilerOf(mini.jobs.get(hashOf(mini, name))!.node, find);
    expect(of('libgreet')).toMatchObject({ name: 'gcc', version: '12.2.0' });
    expect(of('greet-suite')).toBeUndefined();
    expect(compilerOf([...graph({ a: [] }).jobs.values()][0]!.node, find)).toBeUndefined();
  });
});

const file = join(shared, 'data/locks/tutorial/spack.lock');
describe.skipIf(!existsSync(file))('a lock of 191 nodes (needs ../shared)', () => {
  it('is printed as by the format strings of Spack', () => {
    const { nodes } = parseLock(readFileSync(file, 'utf8'));
    for (const each of nodes.values()) {
      const spec = concreteSpec(each, nodes);
      const by = (text: string) => format(spec, text);
      expect(variantsOf(each)).toBe(by('{variants}').trim());
      expect(architectureOf(each)).toBe(by('{architecture}'));
    }
  });
});
