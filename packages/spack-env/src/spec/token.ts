import { SpackEnvError } from '../error.js';
import { space } from './text.js';

/** The kinds of tokens of the spec grammar, in the order in which they are tried. */
export type TokenKind =
  | 'edge-open'
  | 'edge-close'
  | 'dependency'
  | 'git-version-pair'
  | 'git-version'
  | 'version'
  | 'propagated-switch'
  | 'switch'
  | 'propagated-pair'
  | 'pair'
  | 'file'
  | 'dotted-name'
  | 'name'
  | 'hash';

export interface Token {
  readonly kind: TokenKind;
  readonly text: string;
  /** Offset in the spec, in UTF-16 units. */
  readonly start: number;
  readonly end: number;
  /** `c,cxx=gcc` after a dependency sigil or an edge's closing bracket. */
  readonly assignment: { readonly virtuals: readonly string[]; readonly provider: string } | undefined;
}

const word = '[a-zA-Z_0-9]';
const identifier = `${word}[a-zA-Z_0-9\\-]*`;
const dotted = `${identifier}(?:\\.${identifier})+`;
const variantName = `${word}[a-zA-Z_0-9\\-.]*`;
const bareValue = '[a-zA-Z_0-9\\-+*.,:=%^~/\\\\]+';
// A quote may be escaped inside a value; a value may contain anything else, line breaks too.
const quotedValue = `'(?:[^']|(?<=\\\\)')*'|"(?:[^"]|(?<=\\\\)")*"`;
const value = `(?:${bareValue}|${quotedValue})`;
const commit = '[A-Fa-f0-9]{40}';
const gitVersion = `(?:git\\.${word}[a-zA-Z_0-9./\\-]*|${commit})`;
const sigil = '(?:\\^|%%|%)';

type Patterns = readonly (readonly [TokenKind | 'space', RegExp])[];

/** @param wordEdge matches where a word ends or begins */
function patternsWith(wordEdge: string, flags: string): Patterns {
  const version = `=?${word}[a-zA-Z_0-9\\-.]*${wordEdge}`;
  // What follows the colon is no version when it is the name of a key: "@1.2: target=zen2" is written without the space too.
  const range = `(?:${version})?:(?:${version}(?!${space}*=))?`;
  const versionItem = `(?:${range}|${version})`;
  const versionList = `${versionItem}(?:${space}*,${space}*${versionItem})*`;
  const assignment = `(?<virtuals>${identifier}(?:,${identifier})*)=(?<provider>${dotted}|${identifier})`;
  const sources = [
    ['edge-open', `${sigil}\\[`],
    ['edge-close', `\\](?:${space}*${assignment})?`],
    ['dependency', `${sigil}(?:${space}*${assignment})?`],
    ['git-version-pair', `@${gitVersion}=${version}`],
    ['git-version', `@${gitVersion}`],
    ['version', `@${space}*${versionList}`],
    ['propagated-switch', `(?:\\+\\+|~~|--)${space}*${variantName}`],
    ['switch', `[~+-]${space}*${variantName}`],
    ['propagated-pair', `${variantName}:?==${value}`],
    ['pair', `${variantName}:?=${value}`],
    ['file', '(?:\\.|[a-zA-Z0-9\\-_]*/)[a-zA-Z0-9\\-_./]*\\.(?:json|yaml)'],
    ['dotted-name', dotted],
    ['name', `${identifier}|\\*`],
    ['hash', '/[a-zA-Z_0-9]+'],
    ['space', `${space}+`],
  ] as const;
  return sources.map(([kind, source]) => [kind, new RegExp(source, flags)]);
}

let forAscii: Patterns | undefined;
let forUnicode: Patterns | undefined;

/**
 * The patterns for a text, in the order in which they are tried. The edge of a word in Unicode's sense, which \b does
 * not have, takes so long to compile that only a text with other characters than ASCII's shall wait for it.
 */
function patternsFor(text: string): Patterns {
  if (/^[\0-\x7f]*$/.test(text)) return (forAscii ??= patternsWith('\\b', 'y'));
  if (!forUnicode) {
    const letter = '[\\p{L}\\p{N}_]';
    forUnicode = patternsWith(`(?:(?<=${letter})(?!${letter})|(?<!${letter})(?=${letter}))`, 'uy');
  }
  return forUnicode;
}

/** No spec of a person is longer; the tokenizer's regular expressions need stack in proportion. */
const longest = 1 << 16;

/** An error at a character of a spec. */
export function specError(
  code: string,
  text: string,
  offset: number,
  message: string,
  hint?: string,
  offending?: string,
) {
  const before = text.slice(0, offset);
  const line = before.split('\n').length;
  return new SpackEnvError({
    severity: 'error',
    code,
    message,
    hint,
    text: offending,
    position: { line, column: offset - before.lastIndexOf('\n'), offset },
  });
}

/** Splits a spec into tokens, without white space. @throws SpackEnvError at the first character that fits nowhere */
export function tokenize(text: string): Token[] {
  if (text.length > longest) {
    throw specError('bad-spec', '', 0, `A spec of ${text.length} characters is too long.`);
  }
  const tokens: Token[] = [];
  const patterns = patternsFor(text);
  for (let start = 0; start < text.length; ) {
    let match: RegExpExecArray | null = null;
    let found: TokenKind | 'space' | undefined;
    for (const [kind, pattern] of patterns) {
      pattern.lastIndex = start;
      match = pattern.exec(text);
      if (match) {
        found = kind;
        break;
      }
    }
    if (!match || !found) {
      const character = String.fromCodePoint(text.codePointAt(start)!);
      throw specError(
        'bad-spec',
        text,
        start,
        `Unexpected character ${JSON.stringify(character)} in spec ${JSON.stringify(text)}.`,
        unexpectedHint(character),
        character,
      );
    }
    const end = start + match[0].length;
    if (found !== 'space') {
      const groups = match.groups;
      const provider = groups?.['provider'];
      tokens.push({
        kind: found,
        text: match[0],
        start,
        end,
        assignment: provider ? { virtuals: groups!['virtuals']!.split(','), provider } : undefined,
      });
    }
    start = end;
  }
  return tokens;
}

function unexpectedHint(character: string): string | undefined {
  if (character === '@') return 'Write a version after "@", for example "@1.2" or "@1.2:".';
  if (/[+~]/.test(character)) return `Write the name of a variant after "${character}".`;
  if (/["']/.test(character)) return 'Quotes stand around the value of a key: key="a value".';
  if (character === '=') return 'Write a value after "="; an empty one is key="".';
  return undefined;
}
