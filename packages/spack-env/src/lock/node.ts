import { SpackEnvError } from '../error.js';

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

export const badNode = (hash: string, what: string): SpackEnvError =>
  new SpackEnvError({
    severity: 'error',
    code: 'bad-node',
    message: `The node /${isHash(hash) ? hash : shown(hash)} ${what}.`,
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
  if (version === undefined || typeof version === 'object') {
    throw badNode(hash, `(${shown(raw.name)}) has no version`);
  }
  const arch = isRecord(raw.arch) ? raw.arch : {};
  const parameters = isRecord(raw.parameters) ? raw.parameters : {};
  const node: ConcreteNode = {
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
    packageHash: raw.package_hash ?? undefined,
    buildSpec: isRecord(raw.build_spec) ? edgeHash(raw.build_spec) : undefined,
    providedVirtuals: Array.isArray(raw.provided_virtuals) ? raw.provided_virtuals : [],
    raw,
  };
  checkNames(node);
  return node;
}

/**
 * Names, versions and hashes become parts of paths, scripts and what a terminal shows, so only those are taken that
 * Spack itself could have written.
 */
function checkNames(node: ConcreteNode): void {
  const { arch, external } = node;
  const check = (what: string, value: unknown, fits: (text: string) => boolean) => {
    if (value === undefined || (typeof value === 'string' && fits(value))) return;
    throw badNode(node.hash, `has ${shown(value)} as its ${what}`);
  };
  check('hash', node.hash, isHash);
  check('name', node.name, isName);
  check('version', node.version, isVersionText);
  check('namespace', node.namespace, isNamespace);
  for (const part of ['platform', 'os', 'target'] as const) check(part, arch[part] ?? undefined, isWord);
  check('compiler', node.compiler?.name, isName);
  check('compiler version', node.compiler?.version, (text) => text === '' || isVersionText(text));
  check('package hash', node.packageHash, isPrintable);
  check('build spec', node.buildSpec, isHash);
  check('path', external?.path, isPrintable);
  for (const name of external?.modules ?? []) check('module', name, isPrintable);
  for (const patch of node.patches) check('patch', patch, isPrintable);
  for (const virtual of node.providedVirtuals) check('provided virtual', virtual, isVirtual);
  for (const [name, value] of Object.entries(node.parameters)) {
    check('variant', name, isName);
    for (const each of Array.isArray(value) ? value : [value])
      check('variant value', String(each), isPrintable);
  }
  for (const edge of node.dependencies) {
    check('dependency', edge.name, isName);
    check('dependency hash', edge.hash, isHash);
    for (const virtual of edge.virtuals) check('virtual', virtual, isVirtual);
    for (const type of edge.types) check('dependency type', type, isName);
  }
}

const isHash = (text: string) => /^[A-Za-z0-9_-]+$/.test(text);
const isName = (text: string) => /^[A-Za-z0-9_][A-Za-z0-9_-]*$/.test(text);
const isNamespace = (text: string) => /^[A-Za-z0-9_][A-Za-z0-9_.-]*$/.test(text);
const isWord = (text: string) => /^[A-Za-z0-9_][A-Za-z0-9_.:+-]*$/.test(text);
const isVirtual = (text: string) => /^[A-Za-z0-9_][A-Za-z0-9_.:,=@-]*$/.test(text);
/** A version of git names a branch, in which slashes may be; a path of such a version never leads up. */
const isVersionText = (text: string) =>
  /^[A-Za-z0-9_.=-][A-Za-z0-9_.=/+-]*$/.test(text) && !text.split('/').some((part) => /^\.{0,2}$/.test(part));
/** Without line ends, the escape character and other signs that steer a terminal. */
export const isPrintable = (text: string) => !/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/.test(text);

/** A text of the input for a message: in quotes, and with what steers a terminal escaped. */
export const shown = (value: unknown): string =>
  (JSON.stringify(value) ?? String(value)).replace(
    /[\u007f-\u009f\u2028\u2029]/g,
    (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );

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

export const isRecord = (value: unknown): value is Record<string, Json> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

// JSON of many versions: its shape is checked where it is read, not declared.
// biome-ignore lint/suspicious/noExplicitAny: see above
export type Json = any;
