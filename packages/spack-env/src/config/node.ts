import type { Alias, Document, Node, Pair } from 'yaml';
import { isAlias, isMap, isScalar, isSeq, LineCounter, parseDocument } from 'yaml';
import type { Finding, Position } from '../error.js';
import { SpackEnvError } from '../error.js';

/** A value of a configuration file, with the place that it stands at. */
export type ConfigNode = ScalarNode | ListNode | MapNode;

export interface ScalarNode {
  readonly kind: 'scalar';
  readonly at: Position;
  readonly value: string | number | boolean | null;
  /** Whether it stands in quotes: its first character is then one column further. */
  readonly quoted?: boolean;
}

export interface ListNode {
  readonly kind: 'list';
  readonly at: Position;
  readonly items: readonly ConfigNode[];
}

export interface MapNode {
  readonly kind: 'map';
  readonly at: Position;
  /** By key without its suffix. */
  readonly entries: ReadonlyMap<string, ConfigEntry>;
}

/** How a key's value joins the one of lower scopes: `key:`, `key::`, `key+:` in front, `key-:` behind. */
export type MergeMode = 'merge' | 'override' | 'prepend' | 'append';

export interface ConfigEntry {
  /** Where the key stands. */
  readonly at: Position;
  readonly mode: MergeMode;
  readonly node: ConfigNode;
}

/** A file that was read: the document, for edits that keep comments, and where its offsets are. */
export interface ConfigSource {
  readonly file: string;
  readonly text: string;
  readonly document: Document;
  readonly place: (offset: number) => Position;
}

/** Aliases can make a small file large; no configuration is larger than this. */
const mostNodes = 500_000;
const deepest = 200;

/**
 * Parses YAML as Spack does: 1.2, with merge keys.
 * @throws SpackEnvError with all syntax errors and their positions
 */
export function parseConfig(text: string, file: string): ConfigSource {
  const counter = new LineCounter();
  let document: Document;
  try {
    document = parseDocument(text, {
      lineCounter: counter,
      merge: true,
      prettyErrors: false,
      stringKeys: false,
      logLevel: 'error',
    });
  } catch (error) {
    throw broken(file, `cannot be read as YAML: ${(error as Error).message}`);
  }
  const place = (offset: number): Position => {
    const { line, col } = counter.linePos(offset);
    return { file, line: Math.max(line, 1), column: Math.max(col, 1), offset };
  };
  if (document.errors.length > 0) {
    throw new SpackEnvError(
      document.errors.slice(0, 20).map(
        (error): Finding => ({
          severity: 'error',
          code: error.code === 'DUPLICATE_KEY' ? 'duplicate-key' : 'broken-yaml',
          message: `Broken YAML: ${error.message.replace(/\.?$/, '.')}`,
          position: place(error.pos[0]),
        }),
      ),
    );
  }
  return { file, text, document, place };
}

/**
 * The nodes of a document. A text that ends in ":" and has no "@" loses the colon, as Spack has it.
 * What an edit has added stands where the node around it does.
 * @throws SpackEnvError for a key that is there twice, an alias inside of itself, a file too large or too deep
 */
export function readNodes(source: ConfigSource): ConfigNode {
  const { document } = source;
  return new Reader(source).read(document.contents as Node | null, 0, []);
}

function broken(file: string, message: string, position: Position = { file, line: 1, column: 1 }) {
  return new SpackEnvError({
    severity: 'error',
    code: 'broken-yaml',
    message: `The file ${message}.`,
    position,
  });
}

class Reader {
  private count = 0;
  private readonly targets = new Map<Node, Node | undefined>();

  constructor(private readonly source: ConfigSource) {}

  read(node: Node | null, start: number, above: readonly Node[]): ConfigNode {
    const at = this.source.place(node?.range?.[0] ?? start);
    if (++this.count > mostNodes) throw broken(at.file!, 'is too large once its aliases are filled in', at);
    if (above.length > deepest) throw broken(at.file!, 'is nested too deeply', at);
    if (node === null) return { kind: 'scalar', at, value: null };
    if (isAlias(node)) {
      const target = this.target(node);
      if (!target) throw broken(at.file!, `uses *${node.source}, which is not defined`, at);
      if (above.includes(target)) throw broken(at.file!, `uses *${node.source} inside of itself`, at);
      return this.read(target, start, above);
    }
    const inside = [...above, node];
    if (isSeq(node)) {
      const items = node.items.map((item) => {
        const text = this.trailingColon(item as Node | null);
        if (text === undefined) return this.read(item as Node | null, at.offset!, inside);
        return {
          kind: 'scalar' as const,
          at: this.source.place((item as Node).range![0]),
          value: scalarValue(text),
        };
      });
      return { kind: 'list', at, items };
    }
    if (isMap(node)) {
      const entries = new Map<string, ConfigEntry>();
      const pairs = node.items as Pair<Node, Node | null>[];
      // A mapping's own keys count more than those it merges in.
      for (const pair of pairs) if (!isMerge(pair)) this.readPair(pair, at, entries, inside);
      for (const pair of pairs) if (isMerge(pair)) this.mergeIn(pair, at, entries, inside);
      return { kind: 'map', at, entries };
    }
    const quoted = isScalar(node) && (node.type === 'QUOTE_DOUBLE' || node.type === 'QUOTE_SINGLE');
    return { kind: 'scalar', at, value: scalarValue((node as { value?: unknown }).value), quoted };
  }

  /** To find an anchor takes a walk through the document: one for each alias is enough. */
  private target(alias: Alias): Node | undefined {
    if (!this.targets.has(alias))
      this.targets.set(alias, alias.resolve(this.source.document) as Node | undefined);
    return this.targets.get(alias);
  }

  /**
   * `[hdf5@1.12:, zlib]` is two texts for Spack's reader; YAML proper takes a colon before a comma or bracket
   * for the end of a key.
   */
  private trailingColon(item: Node | null): string | undefined {
    if (!isMap(item) || item.items.length !== 1 || !item.range) return undefined;
    const { text } = this.source;
    const [start] = item.range;
    const { key, value } = item.items[0]!;
    if (text[start] === '{' || !isScalar(key) || key.type !== 'PLAIN' || !key.range) return undefined;
    if (value !== null && !(isScalar(value) && value.value === null && value.source === '')) return undefined;
    const end = key.range[1];
    return text[end] === ':' && /[,\]]/.test(text[end + 1] ?? '') ? `${key.source}:` : undefined;
  }

  private mergeIn(
    pair: Pair<Node, Node | null>,
    at: Position,
    entries: Map<string, ConfigEntry>,
    above: readonly Node[],
  ): void {
    const node = this.read(pair.value, at.offset!, above);
    for (const merged of node.kind === 'list' ? node.items : [node]) {
      if (merged.kind !== 'map') continue;
      for (const [key, entry] of merged.entries) if (!entries.has(key)) entries.set(key, entry);
    }
  }

  private readPair(
    pair: Pair<Node, Node | null>,
    at: Position,
    entries: Map<string, ConfigEntry>,
    above: readonly Node[],
  ): void {
    const keyAt = this.source.place(pair.key?.range?.[0] ?? at.offset!);
    const text = isScalar(pair.key) ? String(pair.key.value) : String(pair.key);
    const node = this.read(pair.value, keyAt.offset!, above);
    const { key, mode } = splitKey(text);
    if (entries.has(key)) {
      throw new SpackEnvError({
        severity: 'error',
        code: 'duplicate-key',
        message: `Key "${key}" is there twice in one mapping.`,
        position: keyAt,
        hint: 'Join the two.',
      });
    }
    entries.set(key, { at: keyAt, mode, node });
  }
}

/** `<<`, for which the YAML library has a symbol. */
const isMerge = ({ key }: Pair<Node, Node | null>): boolean => isScalar(key) && typeof key.value === 'symbol';

function splitKey(text: string): { key: string; mode: MergeMode } {
  if (text.length > 1) {
    if (text.endsWith(':') && !text.includes('@')) return { key: text.slice(0, -1), mode: 'override' };
    if (/[^+]\+$/.test(text)) return { key: text.slice(0, -1), mode: 'prepend' };
    if (/[^-]-$/.test(text)) return { key: text.slice(0, -1), mode: 'append' };
  }
  return { key: text, mode: 'merge' };
}

function scalarValue(value: unknown): ScalarNode['value'] {
  if (typeof value === 'string') {
    return value.length > 0 && value.endsWith(':') && !value.includes('@') ? value.slice(0, -1) : value;
  }
  if (typeof value === 'number' || typeof value === 'boolean' || value === null) return value;
  if (typeof value === 'bigint') return Number(value);
  return value === undefined ? null : String(value);
}

const suffix: Record<MergeMode, string> = { merge: '', override: ':', prepend: '+', append: '-' };

/**
 * The plain value of a node. Maps inside lists have not been merged with anything: their keys keep the
 * suffix that says how they are to be (`script:` for `script::`, `script-` for `script-:`).
 */
export function plainValue(node: ConfigNode, inList = false): unknown {
  switch (node.kind) {
    case 'scalar':
      return node.value;
    case 'list':
      return node.items.map((item) => plainValue(item, true));
    case 'map': {
      const value: Record<string, unknown> = {};
      for (const [key, entry] of node.entries) {
        const name = inList ? key + suffix[entry.mode] : key;
        Object.defineProperty(value, name, {
          value: plainValue(entry.node, inList),
          enumerable: true,
          configurable: true,
          writable: true,
        });
      }
      return value;
    }
  }
}

/** The node below a map at a path of keys. */
export function nodeAt(node: ConfigNode | undefined, ...path: readonly string[]): ConfigNode | undefined {
  let current = node;
  for (const key of path) current = current?.kind === 'map' ? current.entries.get(key)?.node : undefined;
  return current;
}

/** Where the text of a scalar starts, inside of its quotes. */
export const textPlace = (node: ConfigNode): Position =>
  node.kind === 'scalar' && node.quoted ? { ...node.at, column: node.at.column + 1 } : node.at;

/** The text of a scalar; numbers and booleans as they would be written. */
export const textOf = (node: ConfigNode | undefined): string | undefined =>
  node?.kind === 'scalar' && node.value !== null ? String(node.value) : undefined;

const identity = (node: ConfigNode): string =>
  JSON.stringify(plainValue(node, true), (_key, value) =>
    value && typeof value === 'object' && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : value,
  );

/**
 * Joins a value of a higher scope onto the one of lower scopes. Lists of the higher scope come first and what
 * they repeat is left out below; maps are joined key by key; of anything else the higher one counts.
 */
export function mergeNodes(lower: ConfigNode | undefined, higher: ConfigNode, mode: MergeMode): ConfigNode {
  if (!lower || mode === 'override') return withoutModes(higher);
  if (lower.kind === 'list' && higher.kind === 'list') {
    const own = new Set(higher.items.map(identity));
    const rest = lower.items.filter((item) => !own.has(identity(item)));
    const items = mode === 'append' ? [...rest, ...higher.items] : [...higher.items, ...rest];
    return { ...higher, items };
  }
  if (lower.kind === 'map' && higher.kind === 'map') {
    const entries = new Map<string, ConfigEntry>();
    for (const [key, entry] of higher.entries) {
      const node = mergeNodes(lower.entries.get(key)?.node, entry.node, entry.mode);
      entries.set(key, { at: entry.at, mode: 'merge', node });
    }
    for (const [key, entry] of lower.entries) if (!entries.has(key)) entries.set(key, entry);
    return { ...higher, entries };
  }
  if (lower.kind === 'scalar' && higher.kind === 'scalar') {
    const { value } = lower;
    if (typeof value === 'string' && typeof higher.value === 'string') {
      if (mode === 'prepend') return { ...higher, value: higher.value + value };
      if (mode === 'append') return { ...higher, value: value + higher.value };
    }
  }
  return withoutModes(higher);
}

/** Nothing lower is left to merge with. Lists keep their items' modes: they are for whoever reads the list. */
function withoutModes(node: ConfigNode): ConfigNode {
  if (node.kind !== 'map') return node;
  const entries = new Map<string, ConfigEntry>();
  for (const [key, entry] of node.entries) {
    entries.set(key, { at: entry.at, mode: 'merge', node: withoutModes(entry.node) });
  }
  return { ...node, entries };
}
