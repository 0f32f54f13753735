import type { Position } from '../error.js';
import { SpackEnvError } from '../error.js';
import { topological } from './walk.js';

export type DependencyType = 'build' | 'link' | 'run' | 'test';

/** An edge of the concrete graph, from a node to the node it depends on. */
export interface Edge {
  readonly name: string;
  readonly hash: string;
  readonly types: readonly DependencyType[];
  /** The virtual packages that this edge provides, for example `c` or `mpi`. */
  readonly virtuals: readonly string[];
  readonly direct: boolean;
}

/** One concrete spec: everything that Spack decided about one package. */
export interface ConcreteNode {
  /** The dag hash: 32 characters of base 32, lower case. */
  readonly hash: string;
  readonly name: string;
  readonly version: string;
  readonly namespace: string | undefined;
  readonly arch: { readonly platform: string; readonly os: string; readonly target: string };
  /** The compiler as an attribute, in lock files of Spack 0.x; in 1.x the compiler is a node. */
  readonly compiler: { readonly name: string; readonly version: string } | undefined;
  /** Variants and compiler flags, as the lock has them. */
  readonly parameters: Readonly<Record<string, boolean | string | readonly string[]>>;
  readonly dependencies: readonly Edge[];
  readonly external:
    | {
        readonly path: string | undefined;
        readonly modules: readonly string[];
        /** For example the paths of a compiler's programs. */
        readonly attributes: Readonly<Record<string, unknown>>;
      }
    | undefined;
  /** Checksums of the applied patches, in the order of application. */
  readonly patches: readonly string[];
  /** The hash of the recipe, base 32; absent for externals. */
  readonly packageHash: string | undefined;
  /** The dag hash of the spec that a spliced node was really built as. */
  readonly buildSpec: string | undefined;
  /**
   * The virtual packages that it provides, some with a version, for example `zlib-api` or `libgfortran@5`. Spec files
   * before version 6 (Spack 1.3) do not say: the list is empty, and only the edges to a node tell.
   */
  readonly providedVirtuals: readonly string[];
  /** The node's own JSON, untouched: what a mirror's spec file and the database hold. */
  readonly raw: Readonly<Record<string, unknown>>;
}

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
  const rootLists: { path: string | undefined; roots: readonly Root[] }[] = [];
  collect(json, undefined, version, found, rootLists, fail);
  const { nodes, dagHash } = byDagHash(
    found,
    rootLists.flatMap(({ roots }) => roots),
  );
  checkEdges(nodes, fail);
  const resolved = rootLists.map(({ path, roots }) => ({
    path,
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
    spack: isRecord(json.spack)
      ? { version: String(json.spack.version), type: String(json.spack.type), commit: json.spack.commit }
      : undefined,
    roots: resolved[0]!.roots,
    included: resolved.slice(1).map(({ path, roots }) => ({ path: path!, roots })),
    nodes,
  };
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

/** The nodes and roots of a lock and of what it includes, by the keys of the file. */
function collect(
  json: Json,
  path: string | undefined,
  version: number,
  nodes: Map<string, ConcreteNode>,
  rootLists: { path: string | undefined; roots: readonly Root[] }[],
  fail: Fail,
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
    roots: (roots as Json[]).map((root): Root => {
      if (!isRecord(root) || typeof root.hash !== 'string') {
        return fail('bad-lock', 'has a root without a hash.', '"roots"');
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
      collect(lock, below, version, nodes, rootLists, fail);
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

const badNode = (hash: string, what: string) =>
  new SpackEnvError({
    severity: 'error',
    code: 'bad-node',
    message: `The node /${hash} ${what}.`,
    hint: 'The file was changed by hand or cut off; concretize again.',
  });

/**
 * Reads one node's JSON as locks of version 3 and later, spec files and database entries hold it.
 * @param hash what it is known by; its own `hash` counts more
 * @throws SpackEnvError for a node without a name or version, or with a broken dependency
 */
export function readNode(hash: string, raw: unknown): ConcreteNode {
  if (!isRecord(raw)) throw badNode(hash, 'is no mapping');
  if (typeof raw.name !== 'string' || raw.name === '') throw badNode(hash, 'has no name');
  const version = raw.version ?? raw.versions?.[0];
  if (version === undefined || typeof version === 'object')
    throw badNode(hash, `(${raw.name}) has no version`);
  const arch = isRecord(raw.arch) ? raw.arch : {};
  const parameters = isRecord(raw.parameters) ? raw.parameters : {};
  return {
    hash: typeof raw.hash === 'string' ? raw.hash : hash,
    name: raw.name,
    version: String(version),
    namespace: typeof raw.namespace === 'string' ? raw.namespace : undefined,
    arch: {
      platform: arch.platform,
      os: arch.platform_os,
      target: isRecord(arch.target) ? arch.target.name : arch.target,
    },
    compiler: readCompiler(raw),
    parameters,
    dependencies: readDependencies(hash, raw.dependencies),
    external: isRecord(raw.external)
      ? {
          path: raw.external.path ?? undefined,
          modules: Array.isArray(raw.external.module) ? raw.external.module : [],
          attributes: isRecord(raw.external.extra_attributes) ? raw.external.extra_attributes : {},
        }
      : undefined,
    patches: [raw.patches, parameters.patches].find(Array.isArray) ?? [],
    packageHash: raw.package_hash,
    buildSpec: isRecord(raw.build_spec) ? edgeHash(raw.build_spec) : undefined,
    providedVirtuals: Array.isArray(raw.provided_virtuals) ? raw.provided_virtuals : [],
    raw,
  };
}

/** An attribute of the node before 1.0; since then an annotation on nodes that were reused from before. */
function readCompiler(raw: Json): ConcreteNode['compiler'] {
  const { compiler } = raw;
  if (isRecord(compiler)) {
    const version = compiler.version ?? (Array.isArray(compiler.versions) ? compiler.versions[0] : undefined);
    return { name: String(compiler.name), version: String(version ?? '').replace(/^=/, '') };
  }
  const annotation: unknown = isRecord(raw.annotations) ? raw.annotations.compiler : undefined;
  const match = typeof annotation === 'string' ? /^([^@]+)@=?(.+)$/.exec(annotation) : null;
  return match ? { name: match[1]!, version: match[2]! } : undefined;
}

/** A list with names since version 3, before that a mapping by name. */
function readDependencies(hash: string, given: unknown): Edge[] {
  if (given === undefined || given === null) return [];
  const list: Json[] = Array.isArray(given)
    ? given
    : isRecord(given)
      ? Object.entries(given).map(([name, edge]) => (isRecord(edge) ? { ...edge, name } : edge))
      : [undefined];
  return list.map((edge) => {
    const to = isRecord(edge) ? edgeHash(edge) : undefined;
    if (typeof edge?.name !== 'string' || typeof to !== 'string')
      throw badNode(hash, 'has a broken dependency');
    const parameters = isRecord(edge.parameters) ? edge.parameters : {};
    const types: unknown = parameters.deptypes ?? edge.type;
    return {
      name: edge.name,
      hash: to,
      types: Array.isArray(types) ? types : [],
      virtuals: Array.isArray(parameters.virtuals) ? parameters.virtuals : [],
      direct: Boolean(parameters.direct),
    };
  });
}

const edgeHash = (edge: Json): string | undefined => edge.hash ?? edge.build_hash ?? edge.full_hash;

const isRecord = (value: unknown): value is Record<string, Json> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

// JSON of many versions: its shape is checked where it is read, not declared.
// biome-ignore lint/suspicious/noExplicitAny: see above
type Json = any;
