import type { Position } from '../error.js';
import { SpackEnvError } from '../error.js';
import { badNode, type ConcreteNode, isPrintable, isRecord, type Json, readNode, shown } from './node.js';
import { topological } from './walk.js';

export interface Root {
  readonly hash: string;
  /** The user's abstract spec, as Spack printed it. */
  readonly spec: string;
  /** The group of the manifest that it is in; `default` where the lock does not say, as before version 7. */
  readonly group: string;
}

/** Another environment whose concrete specs this one took over. */
export interface IncludedLock {
  /** Its folder, as the manifest of this one names it. */
  readonly path: string;
  /** Whether this environment itself includes it, not one that it includes. */
  readonly direct: boolean;
  readonly roots: readonly Root[];
}

export interface Lock {
  /** `_meta.lockfile-version`. */
  readonly version: number;
  readonly specfileVersion: number;
  /** The Spack that wrote it, where the file says so. */
  readonly spack:
    | { readonly version: string; readonly type: string; readonly commit: string | undefined }
    | undefined;
  readonly roots: readonly Root[];
  /** Environments in `include_concrete`, those that they include too. */
  readonly included: readonly IncludedLock[];
  /** By dag hash; those of included environments too. */
  readonly nodes: ReadonlyMap<string, ConcreteNode>;
}

/** The group of roots that the manifest puts in no other. */
export const defaultGroup = 'default';

/**
 * The newest `lockfile-version` that is understood, that of Spack 1.3. Version 7 added the group of a root, and
 * version 8 nodes as spec file 6 has them (`lockfile.rst` in Spack's documentation).
 */
export const newestLockVersion = 8;

type Fail = (code: string, message: string, needle?: string, hint?: string) => never;

/**
 * Reads a `spack.lock` of any version. Keys of versions 2 and 3 that are no dag hashes are replaced by them;
 * of several nodes with one dag hash the first below the roots is kept, as Spack does.
 * @param text the file's content; @param file its name, for messages
 * @throws SpackEnvError for broken JSON, another kind of file, an unknown version, an edge or root to a missing node,
 *   a cycle
 */
export function parseLock(text: string, file = 'spack.lock'): Lock {
  const fail: Fail = (code, message, needle, hint) => {
    const position = needle === undefined ? undefined : placeOf(text, needle, file);
    const said = position ? `The lock ${message}` : `${file}: ${message}`;
    throw new SpackEnvError({ severity: 'error', code, message: said, position, hint });
  };
  const json = parseJson(text, file);
  const meta = isRecord(json) ? json._meta : undefined;
  if (!isRecord(meta) || meta['file-type'] !== 'spack-lockfile') {
    return fail('not-a-lock', 'is not a Spack lock file: _meta.file-type is not "spack-lockfile".');
  }
  const version = Number(meta['lockfile-version']);
  if (!(Number.isInteger(version) && version >= 1 && version <= newestLockVersion)) {
    return fail(
      'unknown-lock-version',
      `has lockfile-version ${meta['lockfile-version']}; versions 1 to ${newestLockVersion} are known.`,
      '"lockfile-version"',
      'Update Stackwright, or concretize with a Spack that writes an older version.',
    );
  }
  const found = new Map<string, ConcreteNode>();
  const rootLists: RootList[] = [];
  collect(json, undefined, version, found, rootLists, fail);
  const { nodes, dagHash } = byDagHash(
    found,
    rootLists.flatMap(({ roots }) => roots),
  );
  checkEdges(nodes, fail);
  const resolved = rootLists.map(({ path, direct, roots }) => ({
    path,
    direct,
    roots: roots.map((root) => ({ ...root, hash: dagHash(root.hash) })),
  }));
  for (const root of resolved.flatMap(({ roots }) => roots)) {
    if (!nodes.has(root.hash)) {
      fail('missing-node', `root ${root.spec} names /${root.hash}, which the file does not hold.`, root.hash);
    }
  }
  return {
    version,
    specfileVersion: Number(meta['specfile-version'] ?? 1),
    spack: readSpack(json.spack, fail),
    roots: resolved[0]!.roots,
    included: resolved.slice(1).map(({ path, direct, roots }) => ({ path: path!, direct, roots })),
    nodes,
  };
}

/** The Spack that wrote the file. Its version and commit become variables of jobs. */
function readSpack(given: unknown, fail: Fail): Lock['spack'] {
  if (!isRecord(given)) return undefined;
  const { version, type, commit } = given;
  for (const text of [version, type, commit ?? '']) {
    if (typeof text !== 'string' || !isPrintable(text)) {
      return fail('bad-lock', `names ${shown(text)} as the Spack that wrote it.`, '"spack"');
    }
  }
  return { version, type, commit: commit ?? undefined };
}

function parseJson(text: string, file: string): Json {
  try {
    return JSON.parse(text) as Json;
  } catch (error) {
    const message = (error as Error).message;
    throw new SpackEnvError({
      severity: 'error',
      code: 'broken-json',
      message: `The lock is not valid JSON: ${message.replace(/(?: in JSON at position|,).*/s, '')}.`,
      position: position(text, errorOffset(text, message), file),
      hint: 'Concretize again to write it anew.',
    });
  }
}

/** Where JSON breaks. Of an unexpected token, Node tells only what stands around it. */
function errorOffset(text: string, message: string): number {
  const given = /position (\d+)/.exec(message)?.[1];
  if (given !== undefined) return Number(given);
  const around = /^Unexpected token '(.)', (?:\.\.\.)?"(.*?)"(?:\.\.\.)? is not/su.exec(message);
  const start = around ? text.indexOf(around[2]!) : -1;
  if (!around || start < 0) return text.length;
  const [, token, part] = around;
  for (let at = part!.indexOf(token!); at >= 0; at = part!.indexOf(token!, at + 1)) {
    try {
      JSON.parse(text.slice(0, start + at + 1));
    } catch (error) {
      if ((error as Error).message.startsWith('Unexpected token')) return start + at;
    }
  }
  return start;
}

function position(text: string, offset: number, file: string): Position {
  const before = text.slice(0, offset);
  return { file, line: before.split('\n').length, column: offset - before.lastIndexOf('\n'), offset };
}

function placeOf(text: string, needle: string, file: string): Position | undefined {
  const offset = text.indexOf(needle);
  return offset < 0 ? undefined : position(text, offset, file);
}

/** The roots of one environment in a lock; its path is undefined for the lock's own. */
interface RootList {
  readonly path: string | undefined;
  readonly direct: boolean;
  readonly roots: readonly Root[];
}

/** The nodes and roots of a lock and of what it includes, by the keys of the file. */
function collect(
  json: Json,
  path: string | undefined,
  version: number,
  nodes: Map<string, ConcreteNode>,
  rootLists: RootList[],
  fail: Fail,
  direct = true,
): void {
  if (json.concrete_specs !== undefined && !isRecord(json.concrete_specs)) {
    fail('bad-lock', 'has concrete_specs that are no mapping by hash.', '"concrete_specs"');
  }
  for (const [key, raw] of Object.entries((json.concrete_specs ?? {}) as Record<string, Json>)) {
    nodes.set(key, version <= 2 ? readNamedNode(key, raw) : readNode(key, raw));
  }
  const roots: unknown = json.roots ?? [];
  if (!Array.isArray(roots)) fail('bad-lock', 'has roots that are no list.', '"roots"');
  rootLists.push({
    path,
    direct,
    roots: (roots as Json[]).map((root): Root => {
      if (!isRecord(root) || typeof root.hash !== 'string') {
        return fail('bad-lock', 'has a root without a hash.', '"roots"');
      }
      for (const text of [root.hash, root.spec, root.group]) {
        if (typeof text === 'string' && !isPrintable(text)) {
          return fail(
            'bad-lock',
            `has a root with characters that are not printable: ${shown(text)}.`,
            '"roots"',
          );
        }
      }
      return {
        hash: root.hash,
        spec: String(root.spec),
        group: typeof root.group === 'string' ? root.group : defaultGroup,
      };
    }),
  });
  const included = json.include_concrete;
  if (!isRecord(included)) return;
  for (const [below, lock] of Object.entries(included)) {
    if (isRecord(lock) && !rootLists.some((list) => list.path === below)) {
      collect(lock, below, version, nodes, rootLists, fail, path === undefined);
    }
  }
}

/** In versions 1 and 2 a node stands below its name. */
function readNamedNode(key: string, raw: Json): ConcreteNode {
  const [name] = isRecord(raw) ? Object.keys(raw) : [];
  const inner: unknown = name === undefined ? undefined : raw[name];
  if (!isRecord(inner)) throw badNode(key, 'has no name with what belongs to it');
  return readNode(key, { ...inner, name });
}

/**
 * Files of versions 2 and 3 have keys finer than the dag hash of that time: several keys may stand for one node.
 */
function byDagHash(found: ReadonlyMap<string, ConcreteNode>, roots: readonly Root[]) {
  const dagHash = (key: string): string => found.get(key)?.hash ?? key;
  if ([...found].every(([key, node]) => key === node.hash)) return { nodes: found, dagHash };
  const nodes = new Map<string, ConcreteNode>();
  const add = (node: ConcreteNode) => {
    if (nodes.has(node.hash)) return;
    const dependencies = node.dependencies.map((edge) => ({ ...edge, hash: dagHash(edge.hash) }));
    nodes.set(node.hash, { ...node, dependencies });
  };
  const seen = new Set<string>();
  for (const root of roots) {
    const stack = [root.hash];
    for (let key = stack.pop(); key !== undefined; key = stack.pop()) {
      const node = found.get(key);
      if (!node || seen.has(key)) continue;
      seen.add(key);
      add(node);
      for (const edge of [...node.dependencies].reverse()) stack.push(edge.hash);
    }
  }
  for (const node of found.values()) add(node);
  return { nodes, dagHash };
}

function checkEdges(nodes: ReadonlyMap<string, ConcreteNode>, fail: Fail): void {
  for (const node of nodes.values()) {
    for (const edge of node.dependencies) {
      if (!nodes.has(edge.hash)) {
        fail(
          'missing-node',
          `${node.name}/${node.hash} depends on ${edge.name}/${edge.hash}, which the file does not hold.`,
          edge.hash,
        );
      }
    }
    if (node.buildSpec !== undefined && !nodes.has(node.buildSpec)) {
      fail(
        'missing-node',
        `${node.name}/${node.hash} was built as /${node.buildSpec}, which the file does not hold.`,
        node.buildSpec,
      );
    }
  }
  const place = new Map(topological(nodes).map((node, i) => [node.hash, i]));
  for (const node of nodes.values()) {
    for (const edge of node.dependencies) {
      if (place.get(edge.hash)! >= place.get(node.hash)!) {
        fail(
          'cyclic-lock',
          `${node.name}/${node.hash} depends on itself, by ${edge.name}/${edge.hash}.`,
          node.hash,
        );
      }
    }
  }
}
