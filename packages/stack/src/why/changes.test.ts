import { assemble } from '@stackwright/job-graph';
import type { ConcreteNode } from '@stackwright/spack-env';
import { describe, expect, it } from 'vitest';
import { causesOf, changesOf, type Known, waysDown } from './changes.js';

type Made = Partial<ConcreteNode> & { readonly needs?: readonly string[] };

const node = (hash: string, { needs = [], ...more }: Made = {}): ConcreteNode => ({
  hash,
  name: hash.split('-')[0] ?? hash,
  version: '1',
  namespace: 'builtin',
  arch: { platform: 'linux', os: 'debian12', target: 'x86_64' },
  compiler: undefined,
  parameters: {},
  dependencies: needs.map(
    (one) => ({ hash: one, name: one.split('-')[0] ?? one, types: ['link'], virtuals: [] }) as never,
  ),
  external: undefined,
  patches: [],
  packageHash: 'r1',
  buildSpec: undefined,
  providedVirtuals: [],
  raw: {},
  ...more,
});
const graph = (nodes: readonly ConcreteNode[]) =>
  assemble(
    nodes.map((one) => ({ node: one, root: true, dependencies: one.dependencies.map(({ hash }) => hash) })),
  );
const known = (...nodes: ConcreteNode[]): Known => ({
  nodes: new Map(nodes.map((one) => [one.hash, one])),
  isCandidate: () => true,
});

const before = known(
  node('zlib-a'),
  node('png-a', { needs: ['zlib-a'] }),
  node('tool-a', { needs: ['png-a'], parameters: { x: true } }),
  node('lone-a'),
);

describe('changes', () => {
  it('follow a dependency down to the first cause, and count what is built for it', () => {
    const g = graph([
      node('zlib-b', { version: '2' }),
      node('png-b', { needs: ['zlib-b'] }),
      node('tool-b', { needs: ['png-b'], parameters: { x: true } }),
      node('lone-a'),
    ]);
    const changes = changesOf(g, before);
    expect([...changes.keys()]).toEqual(['zlib-b', 'png-b', 'tool-b']);
    expect(changes.get('tool-b')).toMatchObject({ nearest: { hash: 'tool-a' }, own: [], below: ['png-b'] });
    expect(causesOf(g, changes)).toMatchObject([
      {
        change: { job: { hash: 'zlib-b' }, own: [{ kind: 'version', before: '1', now: '2' }] },
        packages: 3,
      },
    ]);
    expect(waysDown('tool-b', changes).map((way) => way.map(({ job }) => job.hash))).toEqual([
      ['tool-b', 'png-b', 'zlib-b'],
    ]);
  });

  it.each([
    ['a variant', { parameters: { x: false } }, { kind: 'variant', name: 'x', before: 'true', now: 'false' }],
    ['a recipe', { packageHash: 'r2', parameters: { x: true } }, { kind: 'recipe' }],
    [
      'a compiler',
      { compiler: { name: 'gcc', version: '12' }, parameters: { x: true } },
      { kind: 'compiler', before: undefined, now: 'gcc@12' },
    ],
    [
      'another known dependency',
      { needs: ['png-a', 'lone-a'], parameters: { x: true } },
      { kind: 'dependency', name: 'lone', before: undefined, now: '1/lone-a' },
    ],
    ['what has no name', { parameters: { x: true } }, { kind: 'other' }],
  ])('name %s', (_name, more, difference) => {
    const g = graph([
      node('zlib-a'),
      node('lone-a'),
      node('png-a', { needs: ['zlib-a'] }),
      node('tool-b', { needs: ['png-a'], ...more }),
    ]);
    expect(changesOf(g, before).get('tool-b')?.own).toMatchObject([difference]);
  });

  it('take the known package that differs least', () => {
    const several = known(
      node('tool-a', { version: '1', parameters: { x: true, y: true } }),
      node('tool-c', { version: '2', parameters: { x: true, y: false } }),
    );
    const g = graph([node('tool-b', { version: '2', parameters: { x: true, y: true } })]);
    expect(changesOf(g, several).get('tool-b')?.nearest?.hash).toBe('tool-a');
    const same = graph([node('tool-d', { version: '2', parameters: { x: false, y: false } })]);
    expect(changesOf(same, several).get('tool-d')?.nearest?.hash).toBe('tool-c');
  });

  it('know nothing like a new package', () => {
    const g = graph([node('new-b')]);
    expect(causesOf(g, changesOf(g, before))).toMatchObject([
      { change: { nearest: undefined, own: [] }, packages: 1 },
    ]);
  });
});
