import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseSpecDocument } from '../spec-document.js';
import { madeHash, quickstartMirror } from '../testing.js';
import { countedEdges } from './database.js';
import { SpecNodes } from './spec-nodes.js';

const specs = readdirSync(join(quickstartMirror, 'blobs'), { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => readFileSync(join(entry.parentPath, entry.name)))
  .filter((bytes) => bytes[0] === 0x1f)
  .map((bytes) => gunzipSync(bytes))
  .filter((bytes) => bytes.subarray(0, 8).equals(Buffer.from('{"spec":')));
const expected = (bytes: Buffer) =>
  [...parseSpecDocument(bytes.toString('utf8'), 'x').nodes.values()].map((node) => ({
    hash: node.hash,
    name: node.name,
    version: node.version,
    external: node.external !== undefined,
    names: node.dependencies.map((edge) => edge.hash),
    edges: countedEdges(node),
    json: node.raw,
  }));
const found = (nodes: SpecNodes, bytes: Buffer) =>
  nodes.read(bytes, 'x').map(({ text, ...rest }) => ({ ...rest, json: JSON.parse(text) }));

describe('the nodes of a spec', () => {
  it('are those that parsing finds, with the bytes that Spack wrote', () => {
    expect(specs.length).toBeGreaterThan(5);
    const nodes = new SpecNodes();
    for (const bytes of [...specs, ...specs]) {
      expect(found(nodes, bytes)).toEqual(expected(bytes));
      for (const { text } of nodes.read(bytes, 'x')) expect(bytes.includes(text)).toBe(true);
    }
  });

  it('are the same however the JSON is written', () => {
    for (const indent of [undefined, 1]) {
      const bytes = Buffer.from(JSON.stringify(JSON.parse(specs[0]!.toString()), null, indent));
      expect(found(new SpecNodes(), bytes)).toEqual(expected(specs[0]!));
    }
  });

  it('are the same whatever a text holds', () => {
    const text = fc.oneof(
      fc.string(),
      fc.constantFrom('"},{"name":"', '"},{', '\\"},{"name":"x', ']},"buildcache_layout_version":2}', 'é'),
    );
    fc.assert(
      fc.property(fc.array(text, { minLength: 1, maxLength: 4 }), (notes) => {
        const nodes = notes.map((note, i) => ({
          name: `p${i}`,
          version: '1.0',
          parameters: { note, build_spec: { name: note } },
          hash: madeHash(`p${i}`),
        }));
        const json = { spec: { _meta: { version: 4 }, nodes }, buildcache_layout_version: 2 };
        const bytes = Buffer.from(JSON.stringify(json));
        expect(found(new SpecNodes(), bytes)).toEqual(expected(bytes));
      }),
    );
  });

  it('have the hashes that follow from their content, in spec files of each version', () => {
    const text = specs[0]!.toString();
    const nodes = new SpecNodes();
    nodes.read(Buffer.from(text), 'x');
    const forged = Buffer.from(text.replace('"namespace":"', '"namespace":"evil'));
    expect(() => nodes.read(forged, 'x@1')).toThrowError(expect.objectContaining({ code: 'dag-hash' }));
    // What an older file says is not taken for what a newer one says.
    nodes.read(Buffer.from(forged.toString().replace('"version":5}', '"version":4}')), 'x');
    expect(() => nodes.read(forged, 'x@1')).toThrowError(expect.objectContaining({ code: 'dag-hash' }));
  });

  it.each<[string, (text: string) => string]>([
    ['cut off', (text) => text.slice(0, -50)],
    ['with a bracket too few', (text) => text.replace('},"namespace"', ',"namespace"')],
    ['with a bracket too many', (text) => text.replace('},{"name"', '}},{"name"')],
    ['with a hash that is a path', (text) => text.replace(/"hash":"[a-z2-7]{32}"\}\]/, '"hash":"../x"}]')],
    ['of another format', (text) => text.replace('"version":5}', '"version":9}')],
    ['without a node', (text) => text.replace(/"nodes":\[.*\]\}/, '"nodes":[]}')],
  ])('%s: refused as a broken spec', (_, change) => {
    const text = specs[0]!.toString();
    const nodes = new SpecNodes();
    nodes.read(specs[0]!, 'x');
    expect(change(text)).not.toBe(text);
    expect(() => nodes.read(Buffer.from(change(text)), 'x@1')).toThrowError(
      expect.objectContaining({ code: 'spec', message: expect.stringContaining('x@1: the spec') }),
    );
  });
});
