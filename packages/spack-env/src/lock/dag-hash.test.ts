import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { type ConcreteNode, dagHashOf, parseLock, readNode } from '../index.js';

const lockOf = (path: string) =>
  parseLock(readFileSync(fileURLToPath(new URL(`../../../../${path}`, import.meta.url)), 'utf8'));
const locks = [
  'stacks/quickstart',
  'packages/job-graph/fixtures/mini',
  'packages/job-graph/fixtures/mini-ci',
];
const quickstart = lockOf('stacks/quickstart/spack.lock');
const hello = [...quickstart.nodes.values()].find((node) => node.name === 'hello') as ConcreteNode;
const changed = (more: object) => readNode(hello.hash, { ...hello.raw, ...more });

describe('the dag hash of a node', () => {
  it.each(locks)('is the one that Spack recorded, for every built node of %s', (folder) => {
    const { nodes, specfileVersion } = lockOf(`${folder}/spack.lock`);
    const built = [...nodes.values()].filter((node) => !node.external);
    expect(built.length).toBeGreaterThan(5);
    for (const node of built)
      expect([node.name, dagHashOf(node, specfileVersion)]).toEqual([node.name, node.hash]);
  });

  it.each([
    ['its version', { version: '2.0.1' }],
    ['a variant', { parameters: { ...hello.parameters, evil: true } }],
    ['what it depends on', { dependencies: [] }],
    ['its recipe', { package_hash: 'a'.repeat(32) }],
    ['a key that nobody knows', { more: 1 }],
  ])('changes with %s', (_, more) => {
    const hash = dagHashOf(changed(more), 5);
    expect(hash).toMatch(/^[a-z2-7]{32}$/);
    expect(hash).not.toBe(hello.hash);
  });

  it('escapes what is not printable ASCII as Python does', () => {
    // hashlib.sha1(json.dumps({"name": "x", "version": "1", "note": "é\u007f😀"}, separators=(",", ":")).encode())
    expect(dagHashOf(readNode(hello.hash, { name: 'x', version: '1', note: 'é\u007f😀' }), 5)).toBe(
      'uqdxak6y4amb2avmfynfd3pre5p3s3xx',
    );
  });

  it('ends as that of its build spec where the node is spliced', () => {
    const build = 'mzh2ynzh3ivdka4mxqegobftgfw65dp4';
    const spliced = changed({ build_spec: { name: 'hello', hash: build } });
    expect(dagHashOf(spliced, 5)).toMatch(/fw65dp4$/);
    expect(dagHashOf(spliced, 5)).not.toBe(build);
  });

  it('is known for nodes of spec file 6', () => {
    const annotations = { original_specfile_version: 6 };
    const node = changed({ annotations, provided_virtuals: ['zlib-api'] });
    expect(dagHashOf(node, 6)).toMatch(/^[a-z2-7]{32}$/);
  });

  it.each([
    ['of an external', changed({ external: { path: '/usr', module: null, extra_attributes: {} } }), 5],
    ['of an older spec file', hello, 4],
    [
      'that was taken over from an older spec file',
      changed({ annotations: { original_specfile_version: 4 } }),
      5,
    ],
  ])('does not follow from the content of a node %s', (_, node, version) => {
    expect(dagHashOf(node, version)).toBeUndefined();
  });
});
