import { SpackEnvError } from '../error.js';
import type { ConcreteNode } from '../lock/node.js';
import { concreteSpec } from './concrete.js';
import { lookup } from './graph.js';
import type { CompilerFlag, Spec, SpecEdge, Variant } from './spec.js';
import { compilerPackages, dependencyTypes } from './spec.js';
import { target, targetFamily } from './target.js';
import { compareText, strip } from './text.js';
import type { GitVersion, StandardVersion, VersionList } from './version.js';
import { formatVersion, formatVersions, isAnyVersion, isDevelop, parseVersion } from './version.js';

const legacyNames = new Map(Object.entries(compilerPackages).map(([legacy, name]) => [name, legacy]));

/**
 * A spec as Spack prints it: parse it again and get the same spec.
 * A concrete spec prints as `name@version/hash`.
 */
export function formatSpec(spec: Spec): string {
  if (spec.node) return `${spec.name}${atVersion(spec)}/${spec.hash}`;
  return strip(`${formatNodeOptions(spec)} ${formatDependencies(spec)}`);
}

/** A spec as Spack 0.23 printed it: the compiler behind the version, the architecture in one. */
export function formatLegacySpec(spec: Spec): string {
  const node = (one: Spec): string => {
    const { versions, arch, hash } = one;
    const compiler = one.dependencies.find((edge) => edge.direct)?.spec;
    const at = (list: VersionList) => (isAnyVersion(list) ? '' : `@${formatVersions(list)}`);
    let text = one.name + at(versions);
    if (compiler) text += `%${legacyNames.get(compiler.name) ?? compiler.name}${at(compiler.versions)}`;
    text += formatFlags(one.flags) + formatVariants(one.variants);
    if (!one.name && one.namespace) text += ` namespace=${one.namespace}`;
    if (arch) text += ` arch=${arch.platform ?? 'None'}-${arch.os ?? 'None'}-${arch.target ?? 'None'}`;
    return strip(hash ? `${text}/${hash}` : text);
  };
  const below = byName(spec.dependencies.filter((edge) => !edge.direct)).map((edge) => {
    const attributes = [
      edge.types.length > 0 ? `deptypes=${inOrder(edge.types)}` : '',
      edge.virtuals.length > 0 ? `virtuals=${edge.virtuals.join(',')}` : '',
    ].filter((text) => text !== '');
    return `^${attributes.length > 0 ? `[${attributes.join(' ')}] ` : ''}${node(edge.spec)}`;
  });
  return strip([node(spec), ...below].join(' '));
}

function formatNodeOptions(spec: Spec): string {
  const { name, versions, namespace, arch, hash } = spec;
  let text = name;
  if (versions.length > 0 && !isAnyVersion(versions)) text += `@${formatVersions(versions)}`;
  text += formatFlags(spec.flags) + formatVariants(spec.variants);
  if (!name && namespace) text += ` namespace=${namespace}`;
  if (arch?.platform) text += ` platform=${arch.platform}`;
  if (arch?.os) text += ` os=${arch.os}`;
  if (arch?.target !== undefined) text += ` target=${arch.target}`;
  if (hash) text += `/${hash}`;
  return strip(text);
}

/** A value as it may stand after `=`. */
function quote(value: string): string {
  if (/^[a-zA-Z0-9,/_.\-[\]]+\n?$/.test(value)) return value;
  if (!value.includes("'")) return `'${value}'`;
  return JSON.stringify(value).replace(
    /[\u007f-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

function formatFlags(flags: Spec['flags']): string {
  let text = '';
  for (const [name, list] of [...flags].sort(([a], [b]) => compareText(a, b))) {
    for (const [propagate, equals] of [
      [false, '='],
      [true, '=='],
    ] as const) {
      const some = list.filter((flag: CompilerFlag) => flag.propagate === propagate);
      if (some.length > 0) text += ` ${name}${equals}${quote(some.map(({ flag }) => flag).join(' '))}`;
    }
  }
  return text && `${text} `;
}

function formatVariant({ name, type, values, exact, propagate }: Variant): string {
  if (type === 'bool') return (values[0] ? '+' : '~').repeat(propagate ? 2 : 1) + name;
  const list = name === 'patches' && exact ? values.map((value) => String(value).slice(0, 7)) : values;
  const text = list.length === 0 ? '*' : list.map(pythonText).join(',');
  return `${name}${type === 'multi' && exact ? ':' : ''}${propagate ? '==' : '='}${quote(text)}`;
}

const pythonText = (value: string | boolean) =>
  typeof value === 'string' ? value : value ? 'True' : 'False';

/** Switches first, then the others, each sorted by name. */
function formatVariants(variants: Spec['variants']): string {
  const sorted = [...variants.values()].sort((a, b) => compareText(a.name, b.name));
  return [
    ...sorted.filter(({ type }) => type === 'bool').map(formatVariant),
    ...sorted.filter(({ type }) => type !== 'bool').map((variant) => ` ${formatVariant(variant)}`),
  ].join('');
}

interface DependencyFormat {
  readonly node: (spec: Spec) => string;
  readonly include: (edge: SpecEdge) => boolean;
  readonly types: boolean;
  /** Print `%` for dependencies anywhere below, too. */
  readonly allDirect: boolean;
}

const canonical: DependencyFormat = {
  node: formatNodeOptions,
  include: () => true,
  types: true,
  allDirect: false,
};

const byName = (edges: readonly SpecEdge[]) =>
  [...edges].sort((a, b) => compareText(a.spec.name, b.spec.name));

function formatDependencies(spec: Spec, how: DependencyFormat = canonical): string {
  const edges = spec.dependencies.filter(how.include);
  const isDirect = (edge: SpecEdge) => spec.node !== undefined || edge.direct;
  const parts = byName(edges.filter(isDirect)).map((edge) => {
    const name = legacyNames.get(edge.spec.name) ?? edge.spec.name;
    return formatEdge({ ...edge, spec: { ...edge.spec, name } }, edge.propagate ? '%%' : '%', how);
  });
  if (spec.node) return strip(parts.join(' '));
  for (const edge of byName(edges.filter((edge) => !isDirect(edge)))) {
    parts.push(formatEdge(edge, how.allDirect ? '%' : '^', how));
    if (edge.spec.dependencies.length > 0) parts.push(formatDependencies(edge.spec, how));
  }
  return strip(parts.join(' '));
}

function formatEdge(edge: SpecEdge, sigil: string, how: DependencyFormat): string {
  const node = how.node(edge.spec);
  const types = how.types && edge.types.length > 0 ? `deptypes=${inOrder(edge.types)}` : '';
  const when = edge.when ? `when='${formatSpec(edge.when)}'` : '';
  const attributes = [when, types].filter((text) => text !== '').join(' ');
  const virtuals = edge.virtuals.length > 0 ? `${edge.virtuals.join(',')}=` : '';
  return `${sigil}${attributes && `[${attributes}] `}${needsStar(edge, node) ? '*' : ''}${virtuals}${node}`;
}

const inOrder = (types: SpecEdge['types']) =>
  dependencyTypes.filter((type) => types.includes(type)).join(',');

/** Whether an unnamed dependency would read as something else without a star in front. */
function needsStar({ spec, virtuals }: SpecEdge, text: string): boolean {
  if (spec.name) return false;
  if (virtuals.length > 0) return true;
  if (text.startsWith('@')) return false;
  if (spec.flags.size > 0) return true;
  return ![...spec.variants.values()].some(({ type }) => type === 'bool') || spec.arch !== undefined;
}

const formatError = (message: string, hint?: string) =>
  new SpackEnvError({ severity: 'error', code: 'bad-format-string', message, hint });

export interface FormatOptions {
  /** `{prefix}`: where the spec is installed. */
  readonly prefix?: string | undefined;
  /** `{spack_root}`. */
  readonly spackRoot?: string | undefined;
  /** `{spack_install}`: the install tree's root. */
  readonly spackInstall?: string | undefined;
}

const pieces = /\\(.)|\{( ?[%@/]|[\w ][\w -]*=)?(?:\^([^}.]+)\.)?(?:(hash\b)(?::(\d+))?|([^}]*))(\})?|(\})/gi;

/**
 * Fills one of Spack's format strings, such as `{name}{@version}{/hash:7}` or `{name}-{^mpi.name}`.
 * What a spec does not have prints as nothing, a missing compiler as `none`.
 * @param nodes the lock that a concrete node is of; without it, what is below the node cannot be asked for
 * @throws SpackEnvError for an unbalanced brace, an unknown attribute or a sigil that does not fit
 */
export function format(
  spec: Spec | ConcreteNode,
  formatString: string,
  options: FormatOptions = {},
  nodes?: ReadonlyMap<string, ConcreteNode>,
): string {
  const root = 'dependencies' in spec && 'variants' in spec ? spec : concreteSpec(spec, nodes);
  const old = /\$\{[A-Z]+\}/.exec(formatString);
  if (old) {
    throw formatError(
      `Format string ${JSON.stringify(formatString)} has the old form ${old[0]}.`,
      'Write {name}, {version} and so on.',
    );
  }
  const text = formatString.replace(
    pieces,
    (_all, escaped, sigil: string | undefined, below, hash, length, attribute, close, stray) => {
      if (escaped !== undefined) return escaped;
      if (stray) throw formatError(`Unmatched "}" in format string ${JSON.stringify(formatString)}.`);
      if (!close) throw formatError(`Missing "}" in format string ${JSON.stringify(formatString)}.`);
      const node = below === undefined ? root : lookup(root, below);
      if (!node)
        throw formatError(`${root.name} has no dependency ${below} for ${JSON.stringify(formatString)}.`);
      if (hash !== undefined) {
        if (sigil && sigil !== '/') throw formatError(`"${sigil}" does not go with a hash; "/" does.`);
        if (!node.node) throw formatError(`${formatSpec(node)} is not concrete: it has no hash.`);
        return `${sigil ?? ''}${node.hash!.slice(0, length === undefined ? undefined : Number(length))}`;
      }
      return formatAttribute(node, sigil ?? '', (attribute as string).toLowerCase(), options);
    },
  );
  return strip(text);
}

function formatAttribute(spec: Spec, sigil: string, attribute: string, options: FormatOptions): string {
  const parts = attribute.split('.');
  if (parts.includes('')) throw formatError('A format string has an empty attribute.');
  if (parts.some((part) => part.startsWith('_'))) throw formatError(`Attribute ${attribute} is private.`);
  if (sigil === '@' && !['version', 'versions'].includes(parts.at(-1)!)) {
    throw formatError(`"@" does not go with ${attribute}; it goes with versions.`);
  }
  if (sigil === '%' && !['compiler', 'compiler.name'].includes(attribute)) {
    throw formatError(`"%" does not go with ${attribute}; it goes with compilers.`);
  }
  if (sigil === '/' && attribute !== 'abstract_hash') {
    throw formatError(`"/" does not go with ${attribute}; it goes with hashes.`);
  }
  if (parts[0] === 'compiler' && !specCompiler(spec)) return 'none';
  const value = resolve(specAttributes(spec, options), parts, attribute);
  return value === undefined ? '' : sigil + value;
}

/** A value with attributes of its own: what it prints as, and what can be asked of it. */
interface Value {
  readonly text: string | undefined;
  readonly get?: (part: string) => Value | undefined;
}

const leaf = (text: string | undefined): Value => ({ text });

function resolve(get: (part: string) => Value | undefined, parts: readonly string[], attribute: string) {
  let current: Value = { text: undefined, get };
  for (const part of parts) {
    const next = current.get?.(part);
    if (!next) throw formatError(`Attribute ${attribute} has no part ${part}.`);
    if (next.text === undefined) return undefined;
    current = next;
  }
  return current.text;
}

function specAttributes(spec: Spec, options: FormatOptions): (part: string) => Value | undefined {
  const { arch } = spec;
  const targetValue: Value = {
    text: arch?.target,
    get: (part) => {
      const name = arch!.target!;
      if (part === 'name') return leaf(name);
      if (part === 'family') return leaf(targetFamily(name));
      if (part === 'vendor') return leaf(target(name).vendor);
      return undefined;
    },
  };
  const archValue: Value = {
    text: arch && `${arch.platform ?? 'None'}-${arch.os ?? 'None'}-${arch.target ?? 'None'}`,
    get: (part) => ({ platform: leaf(arch?.platform), os: leaf(arch?.os), target: targetValue })[part],
  };
  return (part) => {
    switch (part) {
      case 'name':
        return leaf(spec.name);
      case 'fullname':
        return leaf(spec.namespace ? `${spec.namespace}.${spec.name}` : spec.name);
      case 'namespace':
        return leaf(spec.namespace);
      case 'namespace_if_anonymous':
        return leaf(spec.name ? undefined : spec.namespace);
      case 'version':
      case 'versions':
        return versionsValue(spec.versions, part);
      case 'variants':
        return {
          text: formatVariants(spec.variants),
          get: (name) => {
            const variant = spec.variants.get(name);
            if (!variant) throw formatError(`${spec.name} has no variant ${name}.`);
            return variantValue(variant);
          },
        };
      case 'compiler_flags':
        return leaf(formatFlags(spec.flags));
      case 'arch':
      case 'architecture':
        return archValue;
      case 'platform':
      case 'os':
      case 'target':
        return archValue.get!(part);
      case 'compiler':
        return compilerValue(specCompiler(spec)!);
      case 'compilers':
        return leaf(formatCompilers(spec));
      case 'abstract_hash':
        return leaf(spec.node ? undefined : spec.hash);
      case 'prefix':
        return leaf(options.prefix ?? spec.node?.external?.path);
      case 'external_path':
        return leaf(spec.node?.external?.path);
      case 'external':
        return leaf(spec.node?.external ? 'True' : 'False');
      case 'concrete':
        return leaf(spec.node ? 'True' : 'False');
      case 'spack_root':
        return leaf(options.spackRoot);
      case 'spack_install':
        return leaf(options.spackInstall);
      case 'short_spec':
        return leaf(format(spec, spec.node ? `${shortSpec}{/hash:7}` : shortSpec));
      case 'specfile_version':
        return leaf(`v${specfileVersion(spec)}`);
      default:
        return undefined;
    }
  };
}

const shortSpec =
  '{name}{@version}{variants}{ platform=architecture.platform}{ os=architecture.os}{ target=architecture.target}';

/** Only nodes of version 5 say so; before, none does. */
function specfileVersion(spec: Spec): number {
  const annotations = spec.node?.raw['annotations'] as { original_specfile_version?: number } | undefined;
  return annotations?.original_specfile_version ?? (spec.node?.compiler ? 4 : 5);
}

function versionsValue(versions: VersionList, part: string): Value {
  if (isAnyVersion(versions)) return leaf('');
  const [only, ...more] = versions;
  if (part === 'versions' || !only || only.kind === 'range' || more.length > 0) {
    return leaf(formatVersions(versions));
  }
  return versionValue(only);
}

function versionValue(version: StandardVersion | GitVersion): Value {
  const text = formatVersion(version);
  const plain = version.kind === 'git' ? version.version : version;
  return {
    text,
    get: (part) => {
      if (part === 'string') return leaf(text);
      if (!plain) return undefined;
      const separated = { dotted: '.', dashed: '-', underscored: '_', joined: '' }[part];
      if (separated !== undefined) {
        return versionValue(parseVersion(formatVersion(plain).replace(/[._-]/g, separated)));
      }
      const upTo = /^up_to_([123])$/.exec(part);
      if (upTo) return versionValue(parseVersion(leading(plain, Number(upTo[1]))));
      return part === 'isdevelop' ? leaf(isDevelop(plain) ? 'True' : 'False') : undefined;
    },
  };
}

/** The first parts of a version, with the separators between them. */
function leading(version: StandardVersion, count: number): string {
  const release = version.release.slice(0, count);
  const text = formatVersion({ ...version, text: '', release, prerelease: [3] });
  const trailing = version.separators[release.length - 1] ?? '';
  return trailing ? text.slice(0, -trailing.length) : text;
}

function variantValue(variant: Variant): Value {
  const tuple =
    variant.values.length === 1
      ? `(${pythonQuoted(variant.values[0]!)},)`
      : `(${variant.values.map(pythonQuoted).join(', ')})`;
  return {
    text: formatVariant(variant),
    get: (part) => {
      if (part === 'name') return leaf(variant.name);
      if (part === 'value') return leaf(variant.type === 'multi' ? tuple : pythonText(variant.values[0]!));
      if (part === 'values') return leaf(tuple);
      return undefined;
    },
  };
}

const pythonQuoted = (value: string | boolean) =>
  typeof value === 'string' ? `'${value}'` : pythonText(value);

/** The provider of C, C++ or Fortran; in locks of Spack 0.x the node's compiler attribute. */
export function specCompiler(spec: Spec): Spec | undefined {
  const legacy = spec.node?.compiler;
  if (legacy) return legacyCompiler(legacy.name, legacy.version);
  for (const language of ['c', 'cxx', 'fortran']) {
    const edge = spec.dependencies.find(({ virtuals }) => virtuals.includes(language));
    if (edge) return edge.spec;
  }
  return undefined;
}

/** A compiler of Spack 0.x: a name and a version, nothing else. */
const legacyCompiler = (name: string, version: string): Spec => ({
  name,
  namespace: undefined,
  versions: [parseVersion(version)],
  variants: new Map(),
  flags: new Map(),
  arch: undefined,
  hash: undefined,
  dependencies: [],
  node: undefined,
});

function compilerValue(compiler: Spec): Value {
  return {
    text: formatSpec(compiler),
    get: (part) => {
      if (part === 'name') return leaf(compiler.name);
      if (part === 'version' || part === 'versions') return versionsValue(compiler.versions, part);
      if (part === 'display_str') return leaf(compiler.name + atVersion(compiler));
      return undefined;
    },
  };
}

const atVersion = (spec: Spec): string => {
  const text = versionsValue(spec.versions, 'version').text;
  return text ? `@${text}` : '';
};

function formatCompilers(spec: Spec): string {
  const legacy = spec.node?.compiler;
  if (legacy) return ` %${formatSpec(legacyCompiler(legacy.name, legacy.version))}`;
  return ` ${formatDependencies(spec, {
    node: (node) => node.name + atVersion(node),
    include: ({ virtuals }) => ['c', 'cxx', 'fortran'].some((language) => virtuals.includes(language)),
    types: false,
    allDirect: true,
  })}`;
}
