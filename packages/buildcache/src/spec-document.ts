import { gunzipSync, gzipSync } from 'node:zlib';
import { type ConcreteNode, readNode } from '@stackwright/spack-env';
import { BuildcacheError } from './error.js';
import { isHash, isName } from './package-ref.js';

/** A package's spec as the mirror keeps it: its node and all nodes it depends on. */
export interface SpecDocument {
  readonly root: ConcreteNode;
  /** Of the spec file format: `_meta.version`. */
  readonly version: number;
  /** By dag hash, the root first. */
  readonly nodes: ReadonlyMap<string, ConcreteNode>;
  /** The document's JSON. */
  readonly text: string;
}

/** Bytes of JSON that a spec may have at most; the largest real ones have about 2 MB. */
const textLimit = 64 * 1024 * 1024;

/** Whether spec files of this version (`_meta.version`) can be read: those of Spack 0.17 to 1.3. */
export function isSpecfileVersion(version: number): boolean {
  return version >= 2 && version <= 6;
}

/** Reads a spec's JSON text. @throws BuildcacheError `spec` */
export function parseSpecDocument(text: string, where: string): SpecDocument {
  const refuse = (why: string): never => {
    throw new BuildcacheError('spec', `${where}: the spec ${why}.`, { key: where });
  };
  let json: { spec?: { nodes?: unknown; _meta?: { version?: unknown } } };
  try {
    json = JSON.parse(text);
  } catch (error) {
    return refuse(`is not JSON: ${(error as Error).message}`);
  }
  const list = json?.spec?.nodes;
  if (!Array.isArray(list) || list.length === 0) return refuse('has no nodes');
  const version = Number(json.spec?._meta?.version ?? 1);
  if (!isSpecfileVersion(version)) return refuse(`has the unknown format version ${version}`);
  const nodes = new Map<string, ConcreteNode>();
  for (const raw of list as Record<string, unknown>[]) {
    if (
      typeof raw !== 'object' ||
      raw === null ||
      typeof raw['hash'] !== 'string' ||
      typeof raw['name'] !== 'string'
    )
      return refuse('has a node without name or hash');
    if (!isName(raw['name']) || !isHash(raw['hash']))
      return refuse(`has ${JSON.stringify(`${raw['name']}/${raw['hash']}`)}, which can name no package`);
    if (nodes.has(raw['hash'])) return refuse(`has two nodes /${raw['hash'].slice(0, 7)}`);
    try {
      nodes.set(raw['hash'], readNode(raw['hash'], raw));
    } catch (error) {
      refuse(`has a broken node: ${(error as Error).message.replace(/\.$/, '')}`);
    }
  }
  return { root: nodes.values().next().value!, version, nodes, text };
}

/** A spec's JSON from its blob, refusing more than a spec can have. @throws BuildcacheError `compression` */
export function unpackSpec(bytes: Buffer, compression: 'gzip' | 'none', where: string): Buffer {
  if (compression === 'none') return bytes;
  try {
    return gunzipSync(bytes, { maxOutputLength: textLimit });
  } catch (error) {
    const tooLarge = (error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE';
    const why = tooLarge
      ? `unpacks to more than ${textLimit} bytes`
      : `is no valid gzip: ${(error as Error).message}`;
    throw new BuildcacheError('compression', `${where}: the spec ${why}.`, { key: where });
  }
}

/** A small gzip member with the header that Python writes for Spack: no name, time 0, system unknown. */
export function gzipText(text: string): Buffer {
  const packed = gzipSync(Buffer.from(text, 'utf8'), { level: 6 });
  packed[9] = 0xff;
  return packed;
}

/** The spec that goes into a mirror, from a prefix's `.spack/spec.json`: the same bytes and the layout's number. */
export function mirrorSpecText(installed: string, where: string): string {
  const text = installed.trimEnd();
  parseSpecDocument(text, where);
  const { spec } = JSON.parse(text) as { spec: unknown };
  const plain = text.startsWith('{"spec":') && text === `{"spec":${text.slice(8, -1)}}`;
  const only = Object.keys(JSON.parse(text) as object).length === 1;
  return plain && only
    ? `${text.slice(0, -1)},"buildcache_layout_version":2}`
    : JSON.stringify({ spec, buildcache_layout_version: 2 });
}
