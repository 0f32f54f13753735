import { describe, expect, it } from 'vitest';
import { mergeAttributes, removeAttributes, toAttributes, toPlain } from './attributes.js';

type Plain = Record<string, unknown>;
const merged = (dest: Plain, source: Plain) =>
  toPlain(mergeAttributes(toAttributes(dest), toAttributes(source)));
const removed = (dest: Plain, source: Plain) =>
  toPlain(removeAttributes(toAttributes(dest), toAttributes(source)));

describe('mergeAttributes', () => {
  it.each<[string, Plain, Plain, Plain]>([
    ['puts lists in front, without repeats', { a: ['x', 'y'] }, { a: ['y', 'z'] }, { a: ['y', 'z', 'x'] }],
    ['puts lists behind with "key-:"', { a: ['x', 'y'] }, { 'a-': ['y', 'z'] }, { a: ['x', 'y', 'z'] }],
    [
      'replaces with "key::"',
      { a: ['x'], b: { c: 1 } },
      { 'a:': ['y'], 'b:': { d: 2 } },
      { a: ['y'], b: { d: 2 } },
    ],
    ['looks into mappings', { a: { b: 1, c: 2 } }, { a: { b: 3 } }, { a: { b: 3, c: 2 } }],
    [
      'joins text only with "key+:" and "key-:"',
      { a: 'x', b: 'x', c: 'x' },
      { 'a+': 'y', 'b-': 'y', c: 'y' },
      { a: 'yx', b: 'xy', c: 'y' },
    ],
    ['replaces what is of another kind', { a: ['x'] }, { a: 'y' }, { a: 'y' }],
    ['empties with null', { a: ['x'] }, { a: null }, { a: null }],
    ['compares nested lists by content', { a: [['x'], ['y']] }, { a: [['y']] }, { a: [['y'], ['x']] }],
  ])('%s', (_name, dest, source, result) => {
    expect(merged(dest, source)).toEqual(result);
  });

  it('puts keys of the source first', () => {
    expect(Object.keys(merged({ a: 1, b: 2 }, { c: 3, b: 4 }) as Plain)).toEqual(['c', 'b', 'a']);
  });

  it('remembers how a key was written for the next merge', () => {
    const user = mergeAttributes(toAttributes({}), toAttributes({ retry: { 'when:': ['b'] } }));
    const base = toAttributes({ retry: { when: ['a'], max: 2 } });
    expect(toPlain(mergeAttributes(base, user))).toEqual({ retry: { when: ['b'], max: 2 } });
  });
});

describe('removeAttributes', () => {
  it.each<[string, Plain, Plain, Plain]>([
    ['takes items out of lists', { tags: ['a', 'b'] }, { tags: ['b', 'c'] }, { tags: ['a'] }],
    ['looks into mappings', { v: { a: ['x'], b: 1 } }, { v: { a: ['x'] } }, { v: { b: 1, a: [] } }],
    ['takes a key out whole with "key::"', { v: { a: 1, b: 2 } }, { v: { 'a:': null } }, { v: { b: 2 } }],
    ['leaves plain values', { v: { a: 1 } }, { v: { a: 1 } }, { v: { a: 1 } }],
    ['leaves everything for null', { a: [1] }, { a: null }, { a: [1] }],
    ['knows nothing of keys that are not there', { a: 1 }, { b: 1 }, { a: 1 }],
  ])('%s', (_name, dest, source, result) => {
    expect(removed(dest, source)).toEqual(result);
  });
});
