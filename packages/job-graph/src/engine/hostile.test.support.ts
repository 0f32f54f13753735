import fc from 'fast-check';

/** Pieces that mean something to a shell, to YAML or to a CI server. Where one is run, a file `owned` comes to be. */
const pieces = [
  '$(touch owned)',
  '`touch owned`',
  '; touch owned;',
  '\ntouch owned\n',
  '&& touch owned &&',
  '| touch owned |',
  '<(touch owned)',
  '\nEOF\ntouch owned\n',
  '\nSCRIPT\ntouch owned\n',
  `$${'{{'} github.token }}`,
  `$${'{{'}`,
  '}}',
  "'",
  '"',
  '\\',
  '\n',
  '\t',
  ' ',
  '#',
  ': ',
  '- ',
  '*a',
  '&a',
  '!x',
  '{',
  ')',
  '%s',
  '~',
  '=',
  '€',
  '\u001b[2J',
];

/** Texts that try to be more than text; never with the NUL that no environment can hold. */
export const hostileText: fc.Arbitrary<string> = fc
  .array(fc.oneof({ arbitrary: fc.constantFrom(...pieces), weight: 3 }, fc.string({ maxLength: 8 })), {
    maxLength: 7,
  })
  .map((parts) => parts.join(''));
