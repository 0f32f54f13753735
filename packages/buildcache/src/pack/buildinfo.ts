import { parse } from 'yaml';
import { BuildcacheError } from '../error.js';

/** `.spack/binary_distribution`: what a relocation needs to know of the place where a package was built. */
export interface BuildInfo {
  readonly sbangPath: string;
  /** The install tree's root, padding included. */
  readonly root: string;
  /** Where Spack itself was. */
  readonly spackPrefix: string;
  /** The package's prefix below `root`. */
  readonly relativePrefix: string;
  /** Install prefixes by dag hash: the package itself, its link dependencies, its direct run dependencies. */
  readonly prefixes: ReadonlyMap<string, string>;
  /** Paths below the prefix. */
  readonly binaries: readonly string[];
  readonly links: readonly string[];
  readonly textFiles: readonly string[];
}

/** Writes it as Spack does: YAML in flow style on one line. */
export function formatBuildInfo(info: BuildInfo): string {
  const list = (items: readonly string[]) => `[${items.map(scalar).join(', ')}]`;
  const prefixes = [...info.prefixes].map(([hash, prefix]) => `${scalar(hash)}: ${scalar(prefix)}`);
  const fields = [
    `sbang_install_path: ${scalar(info.sbangPath)}`,
    `buildpath: ${scalar(info.root)}`,
    `spackprefix: ${scalar(info.spackPrefix)}`,
    `relative_prefix: ${scalar(info.relativePrefix)}`,
    'hardlinks_deduped: true',
    `hash_to_prefix: {${prefixes.join(', ')}}`,
    `relocate_binaries: ${list(info.binaries)}`,
    `relocate_links: ${list(info.links)}`,
    `relocate_textfiles: ${list(info.textFiles)}`,
  ];
  return `{${fields.join(', ')}}\n`;
}

/** Reads a `binary_distribution`, of old archives too. @throws BuildcacheError `tarball` */
export function parseBuildInfo(text: string, where: string): BuildInfo {
  const refuse = (why: string, hint?: string): never => {
    throw new BuildcacheError('tarball', `${where}: its binary_distribution ${why}`, { hint });
  };
  let raw: Record<string, unknown>;
  try {
    raw = parse(text, { maxAliasCount: 0, logLevel: 'silent' }) as Record<string, unknown>;
  } catch (error) {
    return refuse(`is no valid YAML: ${(error as Error).message.split('\n')[0]}`);
  }
  if (typeof raw !== 'object' || raw === null) return refuse('is no mapping.');
  const strings = (name: string): string[] => {
    const value = raw[name] ?? [];
    if (!Array.isArray(value)) return refuse(`has no list at ${name}.`);
    return value.map((item) => checkRelative(String(item), refuse));
  };
  const root = raw['buildpath'];
  if (typeof root !== 'string' || !root.startsWith('/')) return refuse('names no absolute buildpath.');
  const prefixes = new Map<string, string>();
  const byHash = raw['hash_to_prefix'];
  const byPrefix = raw['prefix_to_hash'];
  if (typeof byHash === 'object' && byHash !== null) {
    for (const [hash, prefix] of Object.entries(byHash)) prefixes.set(hash, String(prefix));
  } else if (typeof byPrefix === 'object' && byPrefix !== null) {
    for (const [prefix, hash] of Object.entries(byPrefix)) prefixes.set(String(hash), prefix);
  } else {
    return refuse('names no dependency prefixes.', 'It was made by a Spack too old to relocate from.');
  }
  const relativePrefix = checkRelative(String(raw['relative_prefix'] ?? ''), refuse);
  if (relativePrefix.split('/').some((part) => part === '' || part === '.')) {
    return refuse(`has ${JSON.stringify(relativePrefix)} for the prefix below its root, which is no place.`);
  }
  return {
    sbangPath: String(raw['sbang_install_path'] ?? `${root}/bin/sbang`),
    root,
    spackPrefix: String(raw['spackprefix'] ?? ''),
    relativePrefix,
    prefixes,
    binaries: strings('relocate_binaries'),
    links: strings('relocate_links'),
    textFiles: strings('relocate_textfiles'),
  };
}

function checkRelative(path: string, refuse: (why: string) => never): string {
  if (path.startsWith('/') || path.split('/').includes('..'))
    return refuse(`lists ${JSON.stringify(path)}, which leaves the prefix.`);
  return path;
}

/** A string as YAML's emitters write it in flow style: plain where that reads back as the same string. */
function scalar(text: string): string {
  if (needsDouble(text)) return double(text);
  return isPlain(text) ? text : `'${text.replaceAll("'", "''")}'`;
}

/** Plain scalars that would read back as something other than a string (YAML 1.2 core, and 1.1's leftovers). */
const notAString =
  /^(?:|~|null|Null|NULL|true|True|TRUE|false|False|FALSE|[-+][0-9_]+|[0-9][0-9_]*|[-+]?0b[0-1_]+|[-+]?0o?[0-7_]+|[-+]?0x[0-9a-fA-F_]+|[-+]?(?:[0-9][0-9_]*)\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[-+]?(?:[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)|[-+]?\.[0-9_]+(?:[eE][-+][0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)|<<|=|[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[Tt \t].*)?)$/;

function isPlain(text: string): boolean {
  if (notAString.test(text)) return false;
  if (/^[#,[\]{}&*!|>'"%@`]/.test(text) || /^(?:---|\.\.\.)/.test(text)) return false;
  if (/^[?:-](?:$|\s)/.test(text)) return false;
  if (/[,[\]{}]/.test(text) || /:(?:$|\s)/.test(text) || /\s#/.test(text)) return false;
  return !/^\s|\s$/.test(text);
}

function needsDouble(text: string): boolean {
  return (
    /[^\n\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\u{10000}-\u{10ffff}]/u.test(text) ||
    text.includes('\n')
  );
}

const escapes: Record<string, string> = {
  '\0': '\\0',
  '\x07': '\\a',
  '\b': '\\b',
  '\t': '\\t',
  '\n': '\\n',
  '\x0b': '\\v',
  '\f': '\\f',
  '\r': '\\r',
  '\x1b': '\\e',
  '"': '\\"',
  '\\': '\\\\',
  '\x85': '\\N',
  '\xa0': '\\_',
  '\u2028': '\\L',
  '\u2029': '\\P',
};

function double(text: string): string {
  let quoted = '';
  for (const char of text) {
    const code = char.codePointAt(0)!;
    const named = escapes[char];
    if (named) quoted += named;
    else if (code >= 0x20 && code <= 0x7e) quoted += char;
    else if ((code >= 0xa1 && code <= 0xd7ff) || (code >= 0xe000 && code <= 0xfffd && code !== 0xfeff))
      quoted += char;
    else if (code < 0x100) quoted += `\\x${hex(code, 2)}`;
    else if (code < 0x10000) quoted += `\\u${hex(code, 4)}`;
    else quoted += `\\U${hex(code, 8)}`;
  }
  return `"${quoted}"`;
}

function hex(code: number, digits: number): string {
  return code.toString(16).toUpperCase().padStart(digits, '0');
}
