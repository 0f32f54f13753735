import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  compareVersions,
  formatVersions,
  parseVersion,
  parseVersions,
  SpackEnvError,
  versionsIntersect,
  versionsSatisfy,
} from '../index.js';
import { anyVersion, intersectVersions } from './version.js';

const part = fc.oneof(
  fc.nat(30).map(String),
  fc.constantFrom('a', 'b', 'Z', 'z', 'rc', 'alpha', 'beta', 'main', 'develop', 'head', 'git', '007'),
);
const version = fc
  .array(fc.tuple(part, fc.constantFrom('.', '-', '_', '')), { minLength: 1, maxLength: 5 })
  .map((parts) =>
    parts
      .map(([word, separator]) => word + separator)
      .join('')
      .replace(/[._-]+$/, ''),
  );

describe('compareVersions', () => {
  it('puts names of moving branches above numbers, and pre-releases below their release', () => {
    const ordered = [
      'a',
      '1.0-alpha',
      '1.0-alpha2',
      '1.0beta1',
      '1.0rc1',
      '1.0rc2',
      '1.0',
      '1.0a',
      '1.0.0',
      '1.9',
      '1.10',
      '20240101123456789012',
      '20240101123456789013',
      'stable',
      'nightly',
      'trunk',
      'head',
      'master',
      'main',
      'develop',
    ];
    const shuffled = [...ordered].sort();
    expect(shuffled.sort((a, b) => compareVersions(parseVersion(a), parseVersion(b)))).toEqual(ordered);
  });

  it('is a total order', () => {
    fc.assert(
      fc.property(version, version, version, (x, y, z) => {
        const [a, b, c] = [parseVersion(x), parseVersion(y), parseVersion(z)];
        expect(Math.sign(compareVersions(a, b))).toBe(-Math.sign(compareVersions(b, a)) || 0);
        if (compareVersions(a, b) <= 0 && compareVersions(b, c) <= 0) {
          expect(compareVersions(a, c)).toBeLessThanOrEqual(0);
        }
      }),
    );
  });
});

describe('parseVersions', () => {
  it.each([
    ['1.2', '1.2'],
    ['=1.2', '=1.2'],
    ['1.2:1.2', '1.2'],
    [':', ':'],
    ['1.4:1.5,1.2', '1.2,1.4:1.5'],
    ['1:2,3:4', '1:4'],
    ['1.2,=1.2.3', '1.2'],
    ['git.main=1.2', 'git.main=1.2'],
    ['0123456789abcdef0123456789abcdef01234567', '0123456789abcdef0123456789abcdef01234567'],
  ])('reads %s as %s', (text, canonical) => {
    expect(formatVersions(parseVersions(text))).toBe(canonical);
  });

  it.each([['3:1'], ['1:2:3'], ['1.2!'], ['git.a=1=2'], ['1.2,git.main']])('refuses %s', (text) => {
    expect(() => parseVersions(text)).toThrowError(SpackEnvError);
  });
});

it('says what to write where a branch of git has no version to compare', () => {
  expect(() => parseVersions('1.2,git.main')).toThrowError(/git\.main cannot be ordered.*@git\.main=VERSION/);
});

describe('version lists', () => {
  it.each([
    ['=1.2.3', '1.2', true],
    ['1.2.3', '=1.2.3', false],
    ['1.2:1.4', '1.1:', true],
    ['1.2:', ':1.4', false],
    ['=develop', '1.2:', true],
    ['=1.3rc1', '1.3', false],
    ['=git.main=1.2', '1.2', true],
    ['=git.main', ':', true],
  ])('%s satisfies %s: %s', (a, b, expected) => {
    expect(versionsSatisfy(parseVersions(a), parseVersions(b))).toBe(expected);
  });

  it('intersect when and only when the intersection has something in it', () => {
    const range = fc.tuple(version, version).map(([a, b]) => {
      const [lo, hi] = compareVersions(parseVersion(a), parseVersion(b)) <= 0 ? [a, b] : [b, a];
      return parseVersions(`${lo}:${hi}`);
    });
    fc.assert(
      fc.property(range, range, (a, b) => {
        const common = intersectVersions(a, b);
        expect(common.length > 0).toBe(versionsIntersect(a, b));
        expect(versionsSatisfy(common, a) && versionsSatisfy(common, b)).toBe(true);
        expect(versionsSatisfy(a, anyVersion)).toBe(true);
      }),
    );
  });
});
