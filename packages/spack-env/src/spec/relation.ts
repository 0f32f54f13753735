import { SpackEnvError } from '../error.js';
import { formatSpec } from './format.js';
import { child, edgesOf, hasType, lookup, runEdges, traverse } from './graph.js';
import type { Architecture, CompilerFlag, Spec, SpecEdge, Variant } from './spec.js';
import { appendEdge, compilerPackages, dependencyTypes, sameCondition, sameValues } from './spec.js';
import { intersectTargets, isExactTarget } from './target.js';
import { compareText } from './text.js';
import {
  formatVersions,
  intersectVersions,
  isAnyVersion,
  parseVersion,
  versionsIntersect,
  versionsSatisfy,
} from './version.js';

/** Names differ: whether an edge that names `wanted` as a virtual speaks for the package behind it. */
const providedBy = (edge: SpecEdge | undefined, wanted: Spec) =>
  edge?.virtuals.includes(wanted.name) && isAnyVersion(wanted.versions);

/** Whether `a` is all that `b` asks for; `through` is the edge that led to `a`. */
export function specSatisfies(a: Spec, b: Spec, deps: boolean, through?: SpecEdge): boolean {
  if (b.node) return a.node !== undefined && a.hash === b.hash;
  if (b.hash && !a.hash?.startsWith(b.hash)) return false;
  if (a.name && b.name && a.name !== b.name && !providedBy(through, b)) return false;
  if (a.namespace !== undefined && b.namespace !== undefined && a.namespace !== b.namespace) return false;
  if (!(a.name && b.name && a.name !== b.name) && !versionsSatisfy(a.versions, b.versions)) return false;
  if (!variantsSatisfy(a, b)) return false;
  if (b.arch && !(a.arch && archSatisfies(a.arch, b.arch))) return false;
  if (!flagsSatisfy(a.flags, b.flags)) return false;
  return !deps || b.dependencies.length === 0 || dependenciesSatisfy(a, b);
}

function variantsSatisfy(a: Spec, b: Spec): boolean {
  if (b.variants.size === 0 && (a.node || a.variants.size === 0)) return true;
  const propagated = (spec: Spec) => [...spec.variants.values()].filter((variant) => variant.propagate);
  const fits = (node: Spec, wanted: Variant) => {
    const own = node.variants.get(wanted.name);
    return own === undefined || variantSatisfies(own, wanted);
  };
  for (const wanted of b.variants.values()) {
    if (wanted.propagate) continue;
    const own = a.variants.get(wanted.name);
    if (!own || (!a.node && own.propagate)) return false;
    if (!variantSatisfies(own, wanted)) return false;
  }
  const fromB = propagated(b);
  if (fromB.length > 0) {
    for (const node of traverse(a)) if (!fromB.every((wanted) => fits(node, wanted))) return false;
  }
  const fromA = a.node ? [] : propagated(a);
  if (fromA.length > 0) {
    for (const node of traverse(b)) if (!fromA.every((wanted) => fits(node, wanted))) return false;
  }
  return true;
}

function variantSatisfies(a: Variant, b: Variant): boolean {
  if (b.exact) return a.exact && sameValues(a.values, b.values);
  if (a.name === 'patches') {
    return b.values.every((start) => a.values.some((value) => String(value).startsWith(String(start))));
  }
  return b.values.every((value) => a.values.includes(value));
}

function variantsIntersect(a: Variant, b: Variant): boolean {
  if (a.exact && b.exact) return sameValues(a.values, b.values);
  if (a.exact) return b.values.every((value) => a.values.includes(value));
  return !b.exact || a.values.every((value) => b.values.includes(value));
}

function archSatisfies(a: Architecture, b: Architecture): boolean {
  for (const field of ['platform', 'os'] as const) {
    if (a[field] && b[field] === '*') return true;
    if (b[field] && a[field] !== b[field]) return false;
  }
  if (b.target === undefined) return true;
  if (a.target === undefined) return false;
  return b.target === '*' || intersectTargets(a.target, b.target).length > 0;
}

function archIntersects(a: Architecture, b: Architecture): boolean {
  for (const field of ['platform', 'os'] as const) {
    if (a[field] && b[field] && a[field] !== b[field]) return false;
  }
  if (a.target === undefined || b.target === undefined || b.target === '*') return true;
  return intersectTargets(a.target, b.target).length > 0;
}

const flagsSatisfy = (a: Spec['flags'], b: Spec['flags']): boolean =>
  [...b].every(([name, wanted]) => {
    const own = new Set(a.get(name)?.map(({ flag }) => flag));
    return a.has(name) && wanted.every(({ flag }) => own.has(flag));
  });

/** Every edge of `b` must be met by one of `a`: `%` by a dependency of the same node, `^` by one anywhere below. */
function dependenciesSatisfy(a: Spec, b: Spec): boolean {
  let below: Map<string, SpecEdge[]> | undefined;
  for (const { parent, edge } of edgesOf(b)) {
    const holder = !parent.name || parent.name === a.name ? a : lookup(a, parent.name);
    if (edge.when && holder && !specsIntersect(holder, edge.when)) continue;
    if (edge.direct) {
      if (!directSatisfied(a, parent, edge)) return false;
      continue;
    }
    if (parent.node) continue;
    below ??= edgesBelow(a);
    const wanted = edge.spec;
    const named = wanted.name ? (below.get(wanted.name) ?? []) : [...new Set([...below.values()].flat())];
    const candidates = named.filter((own) => !wanted.name || conditionSatisfies(edge.when, own.when));
    const hasVirtuals = edge.virtuals.every((virtual) =>
      candidates.some((own) => own.virtuals.includes(virtual) || own.spec.name === virtual),
    );
    if (!hasVirtuals || !candidates.some((own) => specSatisfies(own.spec, wanted, false, own))) return false;
  }
  return true;
}

function edgesBelow(root: Spec): Map<string, SpecEdge[]> {
  const below = new Map<string, SpecEdge[]>();
  const add = (edge: SpecEdge) => {
    for (const name of new Set([edge.spec.name, ...edge.virtuals])) {
      const list = below.get(name);
      if (list) list.push(edge);
      else below.set(name, [edge]);
    }
  };
  for (const edge of runEdges(root)) add(edge);
  for (const edge of root.dependencies) if (hasType(edge, 'build')) add(edge);
  return below;
}

function directSatisfied(a: Spec, parent: Spec, edge: SpecEdge): boolean {
  // The same name on both ends, as in gcc@14 %gcc@12, means the root.
  const holder =
    parent.name && parent.name !== edge.spec.name && parent.name !== a.name ? lookup(a, parent.name) : a;
  if (!holder) return false;
  const legacy = holder.node?.compiler;
  if (legacy) {
    const compiler: Spec = {
      ...edge.spec,
      name: compilerPackages[legacy.name] ?? legacy.name,
      namespace: undefined,
      versions: [parseVersion(legacy.version)],
      variants: new Map(),
      flags: new Map(),
      arch: undefined,
      hash: undefined,
      dependencies: [],
    };
    return specSatisfies(compiler, edge.spec, true);
  }
  return holder.dependencies.some(
    (own) =>
      directCandidate(own, edge) &&
      edge.types.every((type) => own.types.includes(type)) &&
      conditionSatisfies(edge.when, own.when) &&
      specSatisfies(own.spec, edge.spec, true, own),
  );
}

function directCandidate(own: SpecEdge, wanted: SpecEdge): boolean {
  const { name } = wanted.spec;
  if (name && own.spec.name !== name && !own.virtuals.includes(name)) return false;
  return wanted.virtuals.length === 0 || wanted.virtuals.some((virtual) => own.virtuals.includes(virtual));
}

const conditionSatisfies = (a: Spec | undefined, b: Spec | undefined): boolean =>
  b === undefined || (a !== undefined && specSatisfies(a, b, true));

export function specsIntersect(a: Spec, b: Spec): boolean {
  if (a.node && b.node) return a.hash === b.hash;
  if (a.node) return specSatisfies(a, b, true);
  if (b.node) return specSatisfies(b, a, true);
  if (a.hash && b.hash && !a.hash.startsWith(b.hash) && !b.hash.startsWith(a.hash)) return false;
  if (a.name && b.name && a.name !== b.name) return false;
  if (a.namespace !== undefined && b.namespace !== undefined && a.namespace !== b.namespace) return false;
  if (!versionsIntersect(a.versions, b.versions)) return false;
  for (const [name, variant] of b.variants) {
    const own = a.variants.get(name);
    if (own && !variantsIntersect(own, variant)) return false;
  }
  if (a.arch && b.arch && !archIntersects(a.arch, b.arch)) return false;
  return dependenciesIntersect(a, b);
}

function dependenciesIntersect(a: Spec, b: Spec): boolean {
  if (a.dependencies.length === 0 || b.dependencies.length === 0) return true;
  const names = new Set(a.dependencies.map((edge) => edge.spec.name));
  for (const name of new Set(b.dependencies.map((edge) => edge.spec.name))) {
    if (!names.has(name)) continue;
    const left = child(a, name);
    const right = child(b, name);
    if (left && right && !specsIntersect(left, right)) return false;
  }
  return true;
}

function conflict(a: Spec, b: Spec, what: string): SpackEnvError {
  return new SpackEnvError({
    severity: 'error',
    code: 'unsatisfiable',
    message: `${what}: "${formatSpec(a)}" and "${formatSpec(b)}" exclude each other.`,
  });
}

/**
 * The spec that asks for everything that both ask for.
 * @throws SpackEnvError when they exclude each other, or `right` has a dependency without a name
 */
export function constrain(left: Spec, right: Spec): Spec {
  if (left.node) {
    if (specSatisfies(left, right, true)) return left;
    throw conflict(left, right, 'A concrete spec cannot change');
  }
  if (right.node && specSatisfies(right, left, true)) return right;
  const fail = (what: string) => conflict(left, right, what);
  let { hash } = left;
  if (right.hash) {
    if (!hash || right.hash.startsWith(hash)) hash = right.hash;
    else if (!hash.startsWith(right.hash)) throw fail('Hashes differ');
  }
  if (left.name && right.name && left.name !== right.name) throw fail('Names differ');
  if (left.namespace !== undefined && right.namespace !== undefined && left.namespace !== right.namespace) {
    throw fail('Namespaces differ');
  }
  if (!versionsIntersect(left.versions, right.versions)) {
    throw fail(
      `Versions ${formatVersions(left.versions)} and ${formatVersions(right.versions)} have none in common`,
    );
  }
  const variants = new Map(left.variants);
  for (const [name, variant] of right.variants) {
    const own = variants.get(name);
    if (own && !variantsIntersect(own, variant)) throw fail(`Variant ${name} differs`);
    variants.set(name, own ? joinVariants(own, variant) : variant);
  }
  if (left.arch && right.arch && !archIntersects(right.arch, left.arch)) throw fail('Architectures differ');
  return {
    name: left.name || right.name,
    namespace: left.namespace || right.namespace,
    versions: intersectVersions(left.versions, right.versions),
    variants,
    flags: joinFlags(left.flags, right.flags),
    arch: left.arch && right.arch ? joinArchitectures(left.arch, right.arch) : (left.arch ?? right.arch),
    hash,
    dependencies: joinDependencies(left, right),
    node: undefined,
  };
}

function joinVariants(a: Variant, b: Variant): Variant {
  const rank = { bool: 1, single: 2, multi: 3 };
  const values = [...new Set([...a.values, ...b.values])];
  return {
    name: a.name,
    type: rank[a.type] > rank[b.type] ? b.type : a.type,
    values: values.length > 1 ? values.sort((x, y) => compareText(String(x), String(y))) : values,
    exact: a.exact || b.exact,
    propagate: a.propagate && b.propagate,
  };
}

function joinFlags(a: Spec['flags'], b: Spec['flags']): Spec['flags'] {
  if (b.size === 0) return a;
  const joined = new Map(a);
  for (const [name, more] of b) {
    const own = joined.get(name);
    if (!own) {
      joined.set(name, more);
      continue;
    }
    const isOwn = new Set(own.map(({ flag }) => flag));
    const plain = new Set(more.filter(({ propagate }) => !propagate).map(({ flag }) => flag));
    const kept = own.map(
      (flag): CompilerFlag => (plain.has(flag.flag) ? { ...flag, propagate: false } : flag),
    );
    joined.set(name, [...kept, ...more.filter(({ flag }) => !isOwn.has(flag))]);
  }
  return joined;
}

function joinArchitectures(a: Architecture, b: Architecture): Architecture {
  return { platform: a.platform ?? b.platform, os: a.os ?? b.os, target: joinTargets(a.target, b.target) };
}

function joinTargets(a: string | undefined, b: string | undefined): string | undefined {
  if (a === undefined && b === undefined) return undefined;
  if (a !== undefined && isExactTarget(a)) return a;
  if (b !== undefined && isExactTarget(b)) return b;
  // Spack intersects a range with no target at all to an empty one; see the package's README.
  return intersectTargets(a ?? '', b ?? '')
    .filter((part) => a !== undefined && b !== undefined && part !== '')
    .join();
}

function joinDependencies(left: Spec, right: Spec): readonly SpecEdge[] {
  if (right.dependencies.length === 0) return left.dependencies;
  if (!dependenciesIntersect(right, left)) throw conflict(left, right, 'Dependencies differ');
  for (const { edge } of edgesOf(right)) {
    if (!edge.spec.name) {
      throw new SpackEnvError({
        severity: 'error',
        code: 'unnamed-dependency',
        message: `"${formatSpec(left)}" cannot be constrained by "${formatSpec(right)}", which has a dependency without a name.`,
        hint: 'Name the package in front of the hash or version.',
      });
    }
  }
  let edges = [...left.dependencies];
  for (const edge of right.dependencies) {
    const i = edges.findIndex(
      (own) => own.spec.name === edge.spec.name && sameCondition(own.when, edge.when),
    );
    if (i < 0) {
      edges = appendEdge(edges, edge);
      continue;
    }
    const own = edges[i]!;
    edges[i] = {
      ...own,
      spec: constrain(own.spec, edge.spec),
      types: dependencyTypes.filter((type) => own.types.includes(type) || edge.types.includes(type)),
      virtuals: [...new Set([...own.virtuals, ...edge.virtuals])].sort(compareText),
      direct: own.direct || edge.direct,
    };
  }
  return edges;
}
