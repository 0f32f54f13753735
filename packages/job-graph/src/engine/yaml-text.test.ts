import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { toYaml } from './yaml-text.js';

const readers = [
  ['1.1', (text: string) => parse(text, { version: '1.1', maxAliasCount: -1 })],
  ['1.2', (text: string) => parse(text, { maxAliasCount: -1 })],
] as const;

describe('toYaml', () => {
  it.each(readers)('is read as what it was, by YAML %s', (_version, read) => {
    const text = fc.oneof(
      fc.string({ unit: 'grapheme' }),
      fc.string(),
      fc.constantFrom(
        ...[
          'yes',
          'No',
          'on',
          '~',
          'null',
          '',
          ' ',
          '1',
          '1.0',
          '1e3',
          '0x1f',
          '1:30',
          '.5',
          '.inf',
          '<<',
          '=',
          '-',
        ],
        ...[
          '- a',
          'a: b',
          'a #b',
          '#a',
          '&a',
          '*a',
          '!a',
          '|',
          '>',
          "'a'",
          '"a"',
          '{a}',
          '[a]',
          'a, b',
          '%a',
          '@a',
        ],
        ...[
          '`a',
          'a\nb',
          'a\n  b\n',
          '\ta',
          'a\r\nb',
          'a\n\nb',
          '2026-01-01',
          'a:',
          '? a',
          '---',
          '...',
          'é\u0085\u2028',
        ],
      ),
    );
    const value = fc.letrec((tie) => ({
      value: fc.oneof(
        { maxDepth: 4 },
        text,
        fc.integer(),
        fc.boolean(),
        fc.constant(null),
        fc.array(tie('value'), { maxLength: 4 }),
        fc.dictionary(
          text.filter((key) => key !== '__proto__'),
          tie('value'),
          { maxKeys: 4 },
        ),
      ),
    })).value;
    fc.assert(
      fc.property(value, (plain) => {
        // Twice, so that there are anchors; a mapping around them, as a pipeline is one.
        const whole = { a: plain, b: [plain, plain], c: { d: plain } };
        expect(read(toYaml(whole))).toEqual(whole);
        expect(read(toYaml(whole, { anchors: false }))).toEqual(whole);
      }),
      { numRuns: 500 },
    );
  });

  it('writes what is there twice once', () => {
    const text = toYaml({
      one: { script: ['a', 'b'] },
      two: { script: ['a', 'b'] },
      three: { script: ['c'] },
    });
    expect(text).toBe('one:\n  script: &a1 [a, b]\ntwo:\n  script: *a1\nthree:\n  script: [c]\n');
  });

  it('quotes what YAML 1.1 takes for true or a number', () => {
    expect(toYaml({ a: 'yes', b: '1.0', c: '20261123' })).toBe('a: "yes"\nb: "1.0"\nc: "20261123"\n');
  });
});
