import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatBuildInfo, parseBuildInfo } from '../index.js';

const info = (binaries: readonly string[]) => ({
  sbangPath: '/opt/s/bin/sbang',
  root: '/opt/s',
  spackPrefix: '/spack',
  relativePrefix: 'p',
  prefixes: new Map([['a'.repeat(32), '/opt/s/p']]),
  binaries,
  links: [],
  textFiles: [],
});
const written = (name: string) =>
  /relocate_binaries: \[(.*)\], relocate_links: \[\]/s.exec(formatBuildInfo(info([name])))?.[1];

describe('binary_distribution', () => {
  // What Spack 1.1.0 writes for these names.
  it.each([
    ['bin/x', 'bin/x'],
    ['bin/[', "'bin/['"],
    ['a b', 'a b'],
    ['c++', 'c++'],
    ['a: b', "'a: b'"],
    ['a:b', 'a:b'],
    ['x:', "'x:'"],
    ['a #b', "'a #b'"],
    ['a#b', 'a#b'],
    ['true', "'true'"],
    ['123', "'123'"],
    ['1.5', "'1.5'"],
    ['-x', '-x'],
    ['?x', '?x'],
    ['x?', 'x?'],
    ['12:30', '12:30'],
    ['a,b', "'a,b'"],
    ["a'b", "a'b"],
    ["'ab", "'''ab'"],
  ])('writes %j as Spack does', (name, text) => {
    expect(written(name)).toBe(text);
  });

  it('reads back what it wrote, whatever the names', () => {
    const name = fc
      .string({ unit: 'grapheme', minLength: 1 })
      .filter((text) => !/[\0/]/.test(text) && text !== '..');
    fc.assert(
      fc.property(fc.array(name, { maxLength: 4 }), (names) => {
        expect(parseBuildInfo(formatBuildInfo(info(names)), 'x').binaries).toEqual(names);
      }),
    );
  });

  it.each([
    ['no YAML', '{a: [b'],
    ['no mapping', 'hello'],
    ['no root', '{hash_to_prefix: {}}'],
    ['a root that is no path', '{buildpath: x, hash_to_prefix: {}}'],
    ['no prefixes', '{buildpath: /x}'],
    [
      'a file outside of the prefix',
      '{buildpath: /x, relative_prefix: a, hash_to_prefix: {}, relocate_binaries: [../../etc/passwd]}',
    ],
    [
      'an absolute file',
      '{buildpath: /x, relative_prefix: a, hash_to_prefix: {}, relocate_textfiles: [/etc/passwd]}',
    ],
    ['no prefix below its root', '{buildpath: /x, hash_to_prefix: {}}'],
    ['a prefix outside of its root', '{buildpath: /x, hash_to_prefix: {}, relative_prefix: a/../../b}'],
    ['an absolute prefix below its root', '{buildpath: /x, hash_to_prefix: {}, relative_prefix: /etc}'],
    ['a prefix that is its root', '{buildpath: /x, hash_to_prefix: {}, relative_prefix: .}'],
    ['no list', '{buildpath: /x, relative_prefix: a, hash_to_prefix: {}, relocate_links: x}'],
  ])('with %s is refused', (_, text) => {
    expect(() => parseBuildInfo(text, 'evil@1')).toThrow(/^evil@1: its binary_distribution /);
  });
});
