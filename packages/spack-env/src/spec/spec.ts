import type { ConcreteNode, DependencyType } from '../lock/node.js';
import { compareText } from './text.js';
import type { VersionList } from './version.js';
import { anyVersion, sameVersions } from './version.js';

/** One variant of a spec. Values are sorted and unique. */
export interface Variant {
  readonly name: string;
  /** `bool` and `single` hold one value. What a user writes as `name=value` may have more: `multi`. */
  readonly type: 'bool' | 'single' | 'multi';
  readonly values: readonly (string | boolean)[];
  /** Exactly these values (`name:=a,b`), where `name=a,b` asks for at least these. */
  readonly exact: boolean;
  /** `++name`, `name==value`: holds for the dependencies too. */
  readonly propagate: boolean;
}

/** One compiler flag with its argument, such as `-O2` or `-I /usr/include`. */
export interface CompilerFlag {
  readonly flag: string;
  readonly propagate: boolean;
}

export interface Architecture {
  readonly platform: string | undefined;
  readonly os: string | undefined;
  /** A name, a range (`x86_64:`, `:zen2`) or a list of them. */
  readonly target: string | undefined;
}

export interface SpecEdge {
  readonly spec: Spec;
  /** Empty where the user did not say. */
  readonly types: readonly DependencyType[];
  /** Sorted. */
  readonly virtuals: readonly string[];
  /** `%`: a dependency of this very node; `^`: anywhere below it. */
  readonly direct: boolean;
  /** `%%`. */
  readonly propagate: boolean;
  /** The condition under which the edge holds. */
  readonly when: Spec | undefined;
}

/** A spec: what a user asks for, or (with {@link concreteSpec}) one node of a lock with all below it. */
export interface Spec {
  /** Empty for an anonymous spec. */
  readonly name: string;
  readonly namespace: string | undefined;
  readonly versions: VersionList;
  readonly variants: ReadonlyMap<string, Variant>;
  readonly flags: ReadonlyMap<string, readonly CompilerFlag[]>;
  readonly arch: Architecture | undefined;
  /** The start of a dag hash; the whole of it where `node` is set. */
  readonly hash: string | undefined;
  readonly dependencies: readonly SpecEdge[];
  /** The node, for a spec of a lock. */
  readonly node: ConcreteNode | undefined;
}

export const compilerFlagNames = ['cflags', 'cxxflags', 'fflags', 'ldflags', 'ldlibs', 'cppflags'] as const;

/** Spack printed and prints these compilers by their old names, and takes the old names after `%`. */
export const compilerPackages: Readonly<Record<string, string>> = {
  clang: 'llvm',
  oneapi: 'intel-oneapi-compilers',
  rocmcc: 'llvm-amdgpu',
  intel: 'intel-oneapi-compilers-classic',
  arm: 'acfl',
};

export const dependencyTypes: readonly DependencyType[] = ['build', 'link', 'run', 'test'];

/** Spack's order of edges to packages of one name: by the sum of link 1, run 2, build 4, test 8. */
export const typeWeight = (types: readonly DependencyType[]): number =>
  types.reduce((sum, type) => sum | { link: 1, run: 2, build: 4, test: 8 }[type], 0);

export const anySpec: Spec = {
  name: '',
  namespace: undefined,
  versions: anyVersion,
  variants: new Map(),
  flags: new Map(),
  arch: undefined,
  hash: undefined,
  dependencies: [],
  node: undefined,
};

/** Edges in Spack's order: grouped by name as first met, each group by the weight of its types. */
export function orderEdges(edges: readonly SpecEdge[]): SpecEdge[] {
  const groups = new Map<string, SpecEdge[]>();
  for (const edge of edges) {
    const group = groups.get(edge.spec.name);
    if (group) group.push(edge);
    else groups.set(edge.spec.name, [edge]);
  }
  return [...groups.values()].flatMap((group) =>
    group.sort((a, b) => typeWeight(a.types) - typeWeight(b.types)),
  );
}

/** Adds an edge to edges that are in order. Only edges to packages of its name move. */
export function appendEdge(edges: readonly SpecEdge[], edge: SpecEdge): SpecEdge[] {
  const same = edges.filter((other) => other.spec.name === edge.spec.name);
  if (same.length === 0) return [...edges, edge];
  const group = [...same, edge].sort((a, b) => typeWeight(a.types) - typeWeight(b.types));
  const at = edges.indexOf(same[0]!);
  const others = edges.filter((other) => other.spec.name !== edge.spec.name);
  return [...others.slice(0, at), ...group, ...others.slice(at)];
}

/** Whether two specs say the same. */
export function sameSpec(a: Spec, b: Spec): boolean {
  if (a === b) return true;
  if (a.node && b.node) return a.hash === b.hash;
  return sameNode(a, b) && sameEdges(a.dependencies, b.dependencies);
}

const sortedEdges = (edges: readonly SpecEdge[]) =>
  edges.length < 2
    ? edges
    : [...edges].sort(
        (a, b) =>
          compareText(a.spec.name, b.spec.name) ||
          compareText(a.spec.hash ?? '', b.spec.hash ?? '') ||
          typeWeight(a.types) - typeWeight(b.types) ||
          compareText(a.virtuals.join(), b.virtuals.join()) ||
          Number(a.direct) - Number(b.direct),
      );

function sameEdges(a: readonly SpecEdge[], b: readonly SpecEdge[]): boolean {
  if (a.length !== b.length) return false;
  const right = sortedEdges(b);
  return sortedEdges(a).every((edge, i) => {
    const other = right[i]!;
    return (
      typeWeight(edge.types) === typeWeight(other.types) &&
      edge.virtuals.join() === other.virtuals.join() &&
      edge.direct === other.direct &&
      sameCondition(edge.when, other.when) &&
      sameSpec(edge.spec, other.spec)
    );
  });
}

export const sameCondition = (a: Spec | undefined, b: Spec | undefined): boolean =>
  a === b || sameSpec(a ?? anySpec, b ?? anySpec);

function sameNode(a: Spec, b: Spec): boolean {
  return (
    a.name === b.name &&
    a.namespace === b.namespace &&
    a.hash === b.hash &&
    a.arch?.platform === b.arch?.platform &&
    a.arch?.os === b.arch?.os &&
    a.arch?.target === b.arch?.target &&
    sameVersions(a.versions, b.versions) &&
    sameMaps(a.variants, b.variants, sameVariant) &&
    sameMaps(a.flags, b.flags, sameFlags)
  );
}

function sameMaps<T>(
  a: ReadonlyMap<string, T>,
  b: ReadonlyMap<string, T>,
  same: (x: T, y: T) => boolean,
): boolean {
  if (a.size !== b.size) return false;
  for (const [key, value] of a) {
    const other = b.get(key);
    if (other === undefined || !same(value, other)) return false;
  }
  return true;
}

const sameVariant = (a: Variant, b: Variant): boolean =>
  a.propagate === b.propagate && a.exact === b.exact && sameValues(a.values, b.values);

export const sameValues = <T>(a: readonly T[], b: readonly T[]): boolean =>
  a.length === b.length && a.every((value, i) => value === b[i]);

const sameFlags = (a: readonly CompilerFlag[], b: readonly CompilerFlag[]): boolean =>
  a.length === b.length && a.every((x, i) => x.flag === b[i]!.flag && x.propagate === b[i]!.propagate);
