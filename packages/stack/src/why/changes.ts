import { type Job, type JobGraph, reach } from '@stackwright/job-graph';
import type { ConcreteNode } from '@stackwright/spack-env';
import type { IndexEntry } from '../survey.js';

/** One thing in which two specs of a package differ. */
export interface Difference {
  readonly kind:
    | 'version'
    | 'variant'
    | 'compiler'
    | 'architecture'
    | 'namespace'
    | 'recipe'
    | 'external'
    | 'dependency'
    | 'other';
  /** The variant's or dependency's name; the kind's again for the others. */
  readonly name: string;
  /** As it was; undefined where there was none. */
  readonly before: string | undefined;
  readonly now: string | undefined;
}

/** A package that is not among the known ones. */
export interface Change {
  readonly job: Job;
  /** The known package of the same name that differs least. */
  readonly nearest: ConcreteNode | undefined;
  /** In what it differs by itself, whatever changed below it. Empty where only dependencies changed. */
  readonly own: readonly Difference[];
  /** Hashes of its dependencies that changed, too. */
  readonly below: readonly string[];
}

/** A change that does not come from another one, and what follows from it. */
export interface Cause {
  readonly change: Change;
  /** How many packages have to be built for it, itself included. */
  readonly packages: number;
}

/** Packages that are known, such as those of a mirror or of an earlier lock. */
export interface Known {
  /** By dag hash; dependencies included. */
  readonly nodes: ReadonlyMap<string, ConcreteNode>;
  /** Versions by dag hash of dependencies that no package of the graph can be compared with. */
  readonly versions?: ReadonlyMap<string, string>;
  /** Whether a known node can be the nearest of another. */
  isCandidate(hash: string): boolean;
}

/**
 * What the indexes of mirrors list, as far as a graph needs it: a mirror may hold tens of thousands of packages, and only
 * those with a name of the graph are compared.
 */
export class IndexedPackages implements Known {
  readonly nodes = new Map<string, ConcreteNode>();
  readonly versions = new Map<string, string>();
  readonly #pushed = new Set<string>();
  readonly #names: ReadonlySet<string>;

  constructor(graph: JobGraph) {
    this.#names = new Set([...graph.jobs.values()].map(({ node }) => node.name));
  }

  add({ node, inBuildcache }: IndexEntry): void {
    if (!this.#names.has(node.name)) {
      this.versions.set(node.hash, node.version);
      return;
    }
    this.nodes.set(node.hash, node);
    if (inBuildcache) this.#pushed.add(node.hash);
  }

  isCandidate(hash: string): boolean {
    return this.#pushed.has(hash) || this.nodes.get(hash)?.external !== undefined;
  }
}

/** What of a graph is not known, by hash, dependencies first. */
export function changesOf(graph: JobGraph, known: Known): Map<string, Change> {
  const byName = new Map<string, ConcreteNode[]>();
  for (const node of known.nodes.values()) {
    if (!known.isCandidate(node.hash)) continue;
    const same = byName.get(node.name);
    if (same) same.push(node);
    else byName.set(node.name, [node]);
  }
  const changes = new Map<string, Change>();
  for (const job of graph.jobs.values()) {
    if (known.nodes.has(job.hash)) continue;
    const below = job.dependencies.filter((hash) => changes.has(hash));
    const compared = (byName.get(job.node.name) ?? []).map((node) => ({
      node,
      own: differences(node, job, graph, known, new Set(below)),
    }));
    compared.sort(
      (a, b) =>
        a.own.length - b.own.length ||
        sharedDependencies(b.node, job) - sharedDependencies(a.node, job) ||
        (a.node.hash < b.node.hash ? -1 : 1),
    );
    const [best] = compared;
    const none = best !== undefined && best.own.length === 0 && below.length === 0;
    const own = none
      ? [{ kind: 'other', name: 'other', before: undefined, now: undefined } as const]
      : (best?.own ?? []);
    changes.set(job.hash, { job, nearest: best?.node, own, below });
  }
  return changes;
}

/** The first causes, those first that most packages follow from. @param isBuilt whether a package counts */
export function causesOf(
  graph: JobGraph,
  changes: ReadonlyMap<string, Change>,
  isBuilt: (hash: string) => boolean = () => true,
): Cause[] {
  return [...changes.values()]
    .filter(({ nearest, own }) => nearest === undefined || own.length > 0)
    .map((change) => ({
      change,
      packages: [...reach(graph, [change.job.hash], 'dependents')].filter(isBuilt).length,
    }))
    .filter(({ packages }) => packages > 0)
    .sort((a, b) => b.packages - a.packages || a.change.job.node.name.localeCompare(b.change.job.node.name));
}

/** For each first cause of a package's change the way down to it, from the package itself. The shortest come first. */
export function waysDown(hash: string, changes: ReadonlyMap<string, Change>): Change[][] {
  const ways: Change[][] = [];
  const seen = new Set<string>([hash]);
  const pending: Change[][] = [];
  const first = changes.get(hash);
  if (first) pending.push([first]);
  for (let way = pending.shift(); way; way = pending.shift()) {
    const last = way.at(-1);
    if (!last) continue;
    if (last.nearest === undefined || last.own.length > 0) ways.push(way);
    for (const below of last.below) {
      const next = changes.get(below);
      if (!next || seen.has(below)) continue;
      seen.add(below);
      pending.push([...way, next]);
    }
  }
  return ways;
}

function sharedDependencies(known: ConcreteNode, job: Job): number {
  const hashes = new Set(known.dependencies.map(({ hash }) => hash));
  return job.dependencies.filter((hash) => hashes.has(hash)).length;
}

/** In what a package differs from a known one, but for dependencies that changed themselves. */
function differences(
  before: ConcreteNode,
  { node: now }: Job,
  graph: JobGraph,
  known: Known,
  changed: ReadonlySet<string>,
): Difference[] {
  const found: Difference[] = [];
  const compare = (kind: Difference['kind'], name: string, a: string | undefined, b: string | undefined) => {
    if (a !== b) found.push({ kind, name, before: a, now: b });
  };
  compare('version', 'version', before.version, now.version);
  compare('namespace', 'namespace', before.namespace, now.namespace);
  compare('compiler', 'compiler', compilerText(before), compilerText(now));
  compare('architecture', 'architecture', architectureText(before), architectureText(now));
  compare('external', 'external', before.external?.path, now.external?.path);
  for (const name of sortedUnion(Object.keys(before.parameters), Object.keys(now.parameters)))
    compare('variant', name, valueText(before.parameters[name]), valueText(now.parameters[name]));
  // A new version or variant can change the hash of a recipe, too: it is hashed as far as it concerns the package.
  if (found.length === 0) compare('recipe', 'recipe', before.packageHash, now.packageHash);
  const edges = { before: edgesByName(before), now: edgesByName(now) };
  for (const name of sortedUnion([...edges.before.keys()], [...edges.now.keys()])) {
    const [a, b] = [edges.before.get(name), edges.now.get(name)];
    if (b !== undefined && a !== undefined && changed.has(b)) continue;
    const text = (hash: string | undefined) => {
      if (hash === undefined) return undefined;
      const one = graph.jobs.get(hash)?.node ?? known.nodes.get(hash);
      const version = one?.version ?? known.versions?.get(hash);
      return version === undefined ? hash.slice(0, 7) : `${version}/${hash.slice(0, 7)}`;
    };
    if (a !== b) found.push({ kind: 'dependency', name, before: text(a), now: text(b) });
  }
  return found;
}

/** Of several edges to packages of one name only the first is compared. */
function edgesByName({ dependencies }: ConcreteNode): Map<string, string> {
  return new Map([...dependencies].reverse().map(({ name, hash }) => [name, hash]));
}

function sortedUnion(a: readonly string[], b: readonly string[]): string[] {
  return [...new Set([...a, ...b])].sort();
}

function compilerText({ compiler }: ConcreteNode): string | undefined {
  return compiler && `${compiler.name}@${compiler.version}`;
}

function architectureText({ arch }: ConcreteNode): string {
  return `${arch.platform}-${arch.os}-${arch.target}`;
}

function valueText(value: ConcreteNode['parameters'][string] | undefined): string | undefined {
  if (value === undefined || typeof value === 'string') return value;
  return typeof value === 'boolean' ? String(value) : [...value].sort().join(',');
}
