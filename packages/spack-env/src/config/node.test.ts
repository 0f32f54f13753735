import { describe, expect, it } from 'vitest';
import { SpackEnvError } from '../index.js';
import { mergeNodes, parseConfig, plainValue, readNodes } from './node.js';

const read = (text: string) => readNodes(parseConfig(text, 'x.yaml'));
const plain = (text: string) => plainValue(read(text));

describe('readNodes', () => {
  it.each([
    ['[zlib@1.2:, hdf5]', ['zlib@1.2:', 'hdf5']],
    ["['target=x86_64:', 'zlib@1.2:']", ['target=x86_64', 'zlib@1.2:']],
    ['[a: b]', [{ a: 'b' }]],
    ['[{a: }]', [{ a: null }]],
    ['{a:: 1, b: yes, c: 1.10}', { a: 1, b: 'yes', c: 1.1 }],
    ['x: {<<: &m {a: 1, b: 2}, b: 3}\ny: *m', { x: { a: 1, b: 3 }, y: { a: 1, b: 2 } }],
    ['- script::\n  - a', [{ 'script:': ['a'] }]],
    ['', null],
  ])('reads %j as Spack does', (text, expected) => {
    expect(plain(text)).toEqual(expected);
  });

  it.each([
    ['a: [', 'broken-yaml', 1],
    ['a: 1\nb: 2\na: 3', 'duplicate-key', 3],
    ['a: 1\na:: 2', 'duplicate-key', 2],
    ['a: *b', 'broken-yaml', 1],
    ['a: &b [*b]', 'broken-yaml', 1],
    ['a: b\n---\nc: d', 'broken-yaml', 2],
    ['- '.repeat(300), 'broken-yaml', 1],
  ])('refuses %j', (text, code, line) => {
    try {
      read(text);
    } catch (error) {
      expect(error).toBeInstanceOf(SpackEnvError);
      expect((error as SpackEnvError).findings[0]).toMatchObject({ code, position: { line } });
      return;
    }
    expect.fail('it was accepted');
  });

  it('refuses aliases that multiply beyond measure', () => {
    const layers = Array.from({ length: 12 }, (_, i) => `- &l${i + 1} [${`*l${i},`.repeat(10)}]`).join('\n');
    expect(() => read(`- &l0 [x]\n${layers}`)).toThrowError(/too large/);
  });
});

describe('mergeNodes', () => {
  const merge = (lower: string, higher: string) => plainValue(mergeNodes(read(lower), read(higher), 'merge'));

  it.each([
    [
      'maps by key, the higher first',
      '{a: 1, b: {c: 1}}',
      '{b: {d: 2}, e: 3}',
      { b: { d: 2, c: 1 }, e: 3, a: 1 },
    ],
    ['lists, the higher first, without what repeats', '[a, b]', '[c, a]', ['c', 'a', 'b']],
    ['not what stands after "::"', '{a: [x], b: 1}', '{"a:": [y]}', { a: ['y'], b: 1 }],
    ['lists in front with "+:"', '{a: [x]}', '{a+: [y]}', { a: ['y', 'x'] }],
    ['lists behind with "-:"', '{a: [x]}', '{a-: [y, x]}', { a: ['y', 'x'] }],
    ['texts in front with "+:"', '{a: x}', '{a+: y}', { a: 'yx' }],
    ['texts behind with "-:"', '{a: x}', '{a-: y}', { a: 'xy' }],
    ['other values by replacing', '{a: 1, b: [x]}', '{a: true, b: y}', { a: true, b: 'y' }],
    ['a null over anything', '{a: [x]}', '{a: null}', { a: null }],
  ])('joins %s', (_name, lower, higher, expected) => {
    expect(merge(lower, higher)).toEqual(expected);
    expect(JSON.stringify(merge(lower, higher))).toBe(JSON.stringify(expected));
  });
});
