import { SpackEnvError } from './error.js';

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
  readonly external: { readonly path: string | undefined; readonly modules: readonly string[] } | undefined;
  /** Checksums of the applied patches, in the order of application. */
  readonly patches: readonly string[];
  /** The hash of the recipe, base 32; absent for externals. */
  readonly packageHash: string | undefined;
  /** The dag hash of the spec that a spliced node was really built as. */
  readonly buildSpec: string | undefined;
  /** The node's own JSON, untouched: what a mirror's spec file and the database hold. */
  readonly raw: Readonly<Record<string, unknown>>;
}

export interface Root {
  readonly hash: string;
  /** The user's abstract spec, as Spack printed it. */
  readonly spec: string;
  readonly group: string | undefined;
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
  readonly nodes: ReadonlyMap<string, ConcreteNode>;
}

/** The newest `lockfile-version` that is understood. */
export const newestLockVersion = 6;

/**
 * Reads a `spack.lock`.
 * @param text the file's content; @param file its name, for messages
 * @throws SpackEnvError for broken JSON, another kind of file, an unknown version, an edge or root to a missing node
 */
export function parseLock(text: string, file = 'spack.lock'): Lock {
  const fail = (code: string, message: string, hint?: string): never => {
    throw new SpackEnvError({ severity: 'error', code, message: `${file}: ${message}`, hint });
  };
  let json: Json;
  try {
    json = JSON.parse(text) as Json;
  } catch (error) {
    return fail(
      'broken-json',
      `is not valid JSON: ${(error as Error).message}.`,
      'Concretize again to write it anew.',
    );
  }
  const meta = json?._meta;
  if (typeof meta !== 'object' || meta?.['file-type'] !== 'spack-lockfile') {
    return fail('not-a-lock', 'is not a Spack lock file: _meta.file-type is not "spack-lockfile".');
  }
  const version = Number(meta['lockfile-version']);
  if (!(version >= 1 && version <= newestLockVersion)) {
    return fail(
      'unknown-lock-version',
      `has lockfile-version ${meta['lockfile-version']}; versions 1 to ${newestLockVersion} are known.`,
      'Update Stackwright, or concretize with a Spack that writes an older version.',
    );
  }
  const nodes = new Map<string, ConcreteNode>();
  for (const [hash, raw] of Object.entries((json.concrete_specs ?? {}) as Record<string, Json>)) {
    nodes.set(hash, readNode(hash, raw));
  }
  for (const node of nodes.values()) {
    for (const edge of node.dependencies) {
      if (!nodes.has(edge.hash)) {
        fail(
          'missing-node',
          `${node.name}/${node.hash} depends on ${edge.name}/${edge.hash}, which the file does not hold.`,
        );
      }
    }
  }
  const roots = ((json.roots ?? []) as Json[]).map((root): Root => {
    if (!nodes.has(root.hash))
      fail('missing-node', `root ${root.spec} names /${root.hash}, which the file does not hold.`);
    return { hash: root.hash, spec: root.spec, group: root.group };
  });
  return { version, specfileVersion: Number(meta['specfile-version'] ?? 1), spack: json.spack, roots, nodes };
}

/** Reads one node's JSON as locks of version 4 and later, spec files and database entries hold it. */
export function readNode(hash: string, raw: Json): ConcreteNode {
  const target = raw.arch?.target;
  return {
    hash,
    name: raw.name,
    version: String(raw.version),
    namespace: raw.namespace,
    arch: {
      platform: raw.arch?.platform,
      os: raw.arch?.platform_os,
      target: typeof target === 'object' && target !== null ? target.name : target,
    },
    compiler: raw.compiler,
    parameters: raw.parameters ?? {},
    dependencies: ((raw.dependencies ?? []) as Json[]).map((edge) => ({
      name: edge.name,
      hash: edge.hash,
      types: edge.parameters?.deptypes ?? edge.type ?? [],
      virtuals: edge.parameters?.virtuals ?? [],
      direct: Boolean(edge.parameters?.direct),
    })),
    external: raw.external
      ? { path: raw.external.path ?? undefined, modules: raw.external.module ?? [] }
      : undefined,
    patches: raw.patches ?? raw.parameters?.patches ?? [],
    packageHash: raw.package_hash,
    buildSpec: raw.build_spec?.hash,
    raw,
  };
}

/**
 * Orders nodes so that each comes after all it depends on; ties keep the order of the map. Linear.
 * @param types follow only edges that have one of these types; all when left out
 */
export function topological(
  nodes: ReadonlyMap<string, ConcreteNode>,
  types?: readonly DependencyType[],
): ConcreteNode[] {
  const order: ConcreteNode[] = [];
  const seen = new Set<string>();
  // An explicit stack: a chain of thousands of nodes must not exhaust the call stack.
  for (const start of nodes.keys()) {
    const stack: { node: ConcreteNode; next: number }[] = [];
    const enter = (hash: string) => {
      const node = nodes.get(hash);
      if (node && !seen.has(hash)) {
        seen.add(hash);
        stack.push({ node, next: 0 });
      }
    };
    enter(start);
    for (let top = stack.at(-1); top; top = stack.at(-1)) {
      const edge = top.node.dependencies[top.next++];
      if (edge === undefined) {
        order.push(top.node);
        stack.pop();
      } else if (!types || edge.types.some((type) => types.includes(type))) {
        enter(edge.hash);
      }
    }
  }
  return order;
}

// JSON of many versions: its shape is checked where it is read, not declared.
// biome-ignore lint/suspicious/noExplicitAny: see above
type Json = any;
