import { type ConcreteNode, readNode } from '@stackwright/spack-env';
import { BuildcacheError } from '../error.js';
import { isHash, isName } from '../package-ref.js';

/** One entry of an index, as the bytes that it is. */
export interface DatabaseEntry {
  readonly hash: string;
  /** The entry's JSON value: `{"spec":{…},"ref_count":N,"in_buildcache":true|false}`. */
  readonly bytes: Buffer;
}

/** What stands in an index around a spec. */
export interface EntryState {
  readonly refCount: number;
  readonly inBuildcache: boolean;
}

/** An entry in the bytes that hold it and its neighbours: most entries are only passed on, many at a time. */
export class PlacedEntry implements DatabaseEntry {
  constructor(
    readonly hash: string,
    readonly buffer: Buffer,
    readonly start: number,
    readonly end: number,
    /** Undefined where it is not written as Spack writes it. */
    readonly state: EntryState | undefined,
  ) {}

  get bytes(): Buffer {
    return this.buffer.subarray(this.start, this.end);
  }

  /** Whether nothing but a comma and the key, `,"HASH":`, stands between another entry and this one. */
  follows(other: PlacedEntry): boolean {
    return this.buffer === other.buffer && this.start - other.end === 36;
  }
}

export interface ParsedEntry {
  readonly node: ConcreteNode;
  readonly refCount: number;
  readonly inBuildcache: boolean;
}

/** Bytes that one entry may have at most. */
const entryLimit = 16 * 1024 * 1024;
const tail = /"ref_count":\s*(\d+),\s*"in_buildcache":\s*(true|false)\s*\}$/;

/**
 * The entries of a database (`{"database":{"version":…,"installs":{HASH:{…}}}}`, Spack's index format 6 to 9), one
 * after the other as they come: an index of any size needs the memory of one chunk and one entry.
 * @throws BuildcacheError `index` when it is something else, with the offset
 */
export async function* databaseEntries(
  source: AsyncIterable<Buffer>,
  where: string,
): AsyncGenerator<DatabaseEntry> {
  for await (const entries of databaseBatches(source, where)) yield* entries;
}

/** The same, all that end in a chunk of the source together. */
export async function* databaseBatches(
  source: AsyncIterable<Buffer>,
  where: string,
): AsyncGenerator<PlacedEntry[]> {
  const refuse = (why: string, at: number): never => {
    throw new BuildcacheError('index', `${where}: the index is broken at byte ${at}: ${why}.`, {
      key: where,
      hint: 'Write it anew with: stackwright mirror index --full',
    });
  };
  let buffer: Buffer = Buffer.alloc(0);
  let base = 0;
  let at = 0;
  let depth = 0;
  let inString = false;
  let escaped = false;
  let stringStart = 0;
  let lastString = '';
  // Keys of the objects around: path[1] is the key within the outermost object, and so on.
  const path: string[] = [];
  let valueStart = -1;
  let installs = false;
  let ended = false;

  for await (const chunk of source) {
    // What an unfinished entry or key still needs is carried over.
    const keep = valueStart >= 0 ? valueStart : inString ? stringStart : at;
    buffer = keep < buffer.length ? Buffer.concat([buffer.subarray(keep), chunk]) : chunk;
    base += keep;
    at -= keep;
    if (valueStart >= 0) valueStart -= keep;
    stringStart -= keep;
    if (buffer.length > entryLimit + chunk.length)
      refuse(`an entry is larger than ${entryLimit} bytes`, base);
    const batch: PlacedEntry[] = [];
    let asSpack = true;

    for (; at < buffer.length; at++) {
      const byte = buffer[at]!;
      if (inString) {
        if (escaped) escaped = false;
        else if (byte === 0x5c) escaped = true;
        else if (byte === 0x22) {
          inString = false;
          if (valueStart < 0 && depth <= 3) lastString = buffer.toString('utf8', stringStart + 1, at);
        }
        continue;
      }
      switch (byte) {
        case 0x22:
          if (asSpack && depth === 3 && path[1] === 'database' && path[2] === 'installs') {
            const entry = entryAt(buffer, at);
            if (entry) {
              batch.push(entry);
              at = entry.end - 1;
              break;
            }
            // The last of a chunk is not whole, and one that is written in another way is seldom alone.
            asSpack = false;
          }
          inString = true;
          stringStart = at;
          break;
        case 0x7b:
        case 0x5b:
          if (ended) refuse('there is more after its end', base + at);
          path[depth] = lastString;
          depth++;
          if (depth === 3 && path[1] === 'database' && path[2] === 'installs') installs = true;
          if (depth === 4 && path[1] === 'database' && path[2] === 'installs') {
            if (byte !== 0x7b) refuse(`entry ${lastString} is no object`, base + at);
            valueStart = at;
          }
          break;
        case 0x7d:
        case 0x5d:
          depth--;
          if (depth < 0) refuse('a bracket closes that none opened', base + at);
          if (depth === 0) ended = true;
          if (depth === 3 && valueStart >= 0) {
            const hash = path[3]!;
            if (!isHash(hash)) refuse(`${JSON.stringify(hash)} is no dag hash`, base + at);
            batch.push(new PlacedEntry(hash, buffer, valueStart, at + 1, undefined));
            valueStart = -1;
          }
          break;
        case 0x20:
        case 0x0a:
        case 0x0d:
        case 0x09:
        case 0x2c:
        case 0x3a:
          break;
        default:
          if (depth === 0) refuse('it is no JSON object', base + at);
      }
    }
    if (batch.length > 0) yield batch;
  }
  if (!ended || inString) refuse('it ends too early', base + at);
  if (!installs) refuse('it has no database.installs', base + at);
}

const afterSpec = Buffer.from(',"ref_count":');
const ending = /^,"in_buildcache":(true|false)\}/;

/**
 * The entry whose key starts at `at`, when it is whole and written as Spack writes it: `"HASH":{…,"ref_count":N,
 * "in_buildcache":true|false}`. It ends at the first such end; within a text there would be a backslash in it.
 */
function entryAt(buffer: Buffer, at: number): PlacedEntry | undefined {
  const start = at + 35;
  if (buffer[start] !== 0x7b || buffer[start - 1] !== 0x3a || buffer[start - 2] !== 0x22) return undefined;
  const hash = buffer.toString('latin1', at + 1, at + 33);
  if (!isHash(hash)) return undefined;
  let end = buffer.indexOf(afterSpec, start);
  if (end < 0 || end - start > entryLimit) return undefined;
  let refCount = 0;
  const digits = end + afterSpec.length;
  for (end = digits; isDigit(buffer[end]); end++) refCount = refCount * 10 + buffer[end]! - 0x30;
  if (end === digits) return undefined;
  const match = ending.exec(buffer.toString('latin1', end, end + 24));
  if (!match) return undefined;
  return new PlacedEntry(hash, buffer, start, end + match[0].length, {
    refCount,
    inBuildcache: match[1] === 'true',
  });
}

const isDigit = (byte: number | undefined) => byte !== undefined && byte >= 0x30 && byte <= 0x39;

/** Reads an entry. @throws BuildcacheError `index` */
export function parseEntry(entry: DatabaseEntry, where: string): ParsedEntry {
  let json: { spec?: Record<string, unknown>; ref_count?: unknown; in_buildcache?: unknown };
  try {
    json = JSON.parse(entry.bytes.toString('utf8'));
  } catch (error) {
    return refuseEntry(entry.hash, where, (error as Error).message);
  }
  if (typeof json.spec !== 'object' || json.spec === null || typeof json.spec['name'] !== 'string') {
    return refuseEntry(entry.hash, where, 'it has no spec');
  }
  let node: ConcreteNode;
  try {
    node = readNode(entry.hash, json.spec);
  } catch (error) {
    return refuseEntry(entry.hash, where, (error as Error).message);
  }
  if (!isName(node.name) || node.hash !== entry.hash)
    return refuseEntry(entry.hash, where, `it is ${JSON.stringify(`${node.name}/${node.hash}`)}`);
  return {
    node,
    refCount: Number(json.ref_count ?? 0),
    inBuildcache: json.in_buildcache !== false,
  };
}

/** The counters of an entry, without parsing the rest where they stand at its end as Spack writes them. */
export function entryState(entry: PlacedEntry, where: string): EntryState {
  if (entry.state) return entry.state;
  const { bytes } = entry;
  const match = tail.exec(bytes.toString('latin1', Math.max(0, bytes.length - 80)));
  if (match) return { refCount: Number(match[1]), inBuildcache: match[2] === 'true' };
  return parseEntry(entry, where);
}

/** The entry's JSON with other counters; the spec's bytes are copied. */
export function withState(entry: DatabaseEntry, state: EntryState, where: string): Buffer {
  const { bytes } = entry;
  const counters = `"ref_count":${state.refCount},"in_buildcache":${state.inBuildcache}}`;
  const from = Math.max(0, bytes.length - 80);
  const match = tail.exec(bytes.toString('latin1', from));
  if (match) return Buffer.concat([bytes.subarray(0, from + match.index), Buffer.from(counters)]);
  const { node } = parseEntry(entry, where);
  return Buffer.from(`{"spec":${JSON.stringify(node.raw)},${counters}`);
}

/** A new entry for a node's JSON. */
export function formatEntry(spec: Buffer | string, state: EntryState): Buffer {
  return Buffer.concat([
    Buffer.from('{"spec":'),
    typeof spec === 'string' ? Buffer.from(spec) : spec,
    Buffer.from(`,"ref_count":${state.refCount},"in_buildcache":${state.inBuildcache}}`),
  ]);
}

/** What stands before, between and after the entries of a database. */
export const databaseFrame = {
  head: (version: number) => Buffer.from(`{"database":{"version":"${version}","installs":{`),
  key: (hash: string, first: boolean) => Buffer.from(`${first ? '' : ','}"${hash}":`),
  end: Buffer.from('}}}'),
};

/** Hashes of the nodes that count as dependents' edges in a database: all but those for tests. */
export function countedEdges(node: ConcreteNode): string[] {
  return [
    ...new Set(
      node.dependencies.filter((edge) => edge.types.some((type) => type !== 'test')).map((edge) => edge.hash),
    ),
  ];
}

function refuseEntry(hash: string, where: string, why: string): never {
  throw new BuildcacheError('index', `${where}: entry ${hash} is broken: ${why}.`, {
    key: where,
    hint: 'Write the index anew with: stackwright mirror index --full',
  });
}
