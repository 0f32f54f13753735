import {
  BuildcacheError,
  describe,
  hasCode,
  isSamePackage,
  type MirrorIndex,
  type MirrorReader,
  type PackageRef,
  presentPackages,
} from '@stackwright/buildcache';
import { type ConcreteNode, parseSpec, satisfies } from '@stackwright/spack-env';
import type { Caller } from './caller.js';
import { StackError } from './error.js';
import { readLock, stackFolder } from './stack.js';

/** Which packages of a mirror are meant. */
export interface Selection {
  /** Specs or `/HASH` (its start). */
  readonly specs?: readonly string[];
  /** Folders of stacks: what is in their locks. */
  readonly stacks?: readonly string[];
  /** Also what the packages that satisfy `specs` link and run. */
  readonly withDependencies?: boolean;
  /** Packages are of no use without what they need; else a warning names what the mirror lacks. */
  readonly complete?: boolean;
}

/**
 * The packages of a mirror that are meant, by name, version and hash; all of them where neither specs nor stacks are
 * given.
 * @throws StackError for a spec that nothing satisfies, and for what is missing from a selection that has to be complete
 */
export async function selectPackages(
  caller: Caller,
  mirror: MirrorReader,
  { specs = [], stacks = [], withDependencies = false, complete = false }: Selection,
): Promise<PackageRef[]> {
  const present = await presentPackages(mirror, caller.signal);
  if (specs.length === 0 && stacks.length === 0) return sortedPackages(present.values());
  const chosen = new Set<string>();
  const missing = new Map<string, string>();
  for (const stack of stacks) {
    const lock = await readLock(await stackFolder(caller, stack));
    for (const node of lock.nodes.values()) {
      if (present.has(node.hash)) chosen.add(node.hash);
      else if (!node.external) missing.set(node.hash, describe(node));
    }
  }
  if (specs.length > 0) {
    const { nodes } = await nodesOf(mirror, present, caller.signal);
    for (const spec of specs) {
      const matches = [...present.keys()].filter(matcher(spec, nodes));
      for (const hash of matches) checkListed(present.get(hash)!, nodes.get(hash), mirror);
      if (matches.length === 0) {
        throw new StackError('no-such-package', `${mirror.url} has no package that satisfies "${spec}".`, {
          hint: 'See: stackwright mirror list',
        });
      }
      for (const hash of matches) chosen.add(hash);
    }
    if (withDependencies) addDependencies(chosen, present, nodes, missing);
  }
  if (missing.size > 0) {
    const names = [...missing.values()].sort();
    const more = names.length > 10 ? ` and ${names.length - 10} more` : '';
    const text = `${mirror.url} lacks ${names.slice(0, 10).join(', ')}${more}, which these packages need.`;
    if (complete && specs.length > 0) {
      throw new StackError('incomplete', text, {
        hint: 'Push that first, or do without what the packages need: --no-dependencies',
      });
    }
    caller.note(`Warning: ${text}`);
  }
  return sortedPackages([...chosen].flatMap((hash) => present.get(hash) ?? []));
}

/** Adds what the chosen packages link and run, directly or not; what is not there goes to `missing`. */
function addDependencies(
  chosen: Set<string>,
  present: ReadonlyMap<string, PackageRef>,
  nodes: ReadonlyMap<string, ConcreteNode>,
  missing: Map<string, string>,
): void {
  // A Set goes on with what is added while it is walked.
  for (const hash of chosen) {
    for (const edge of nodes.get(hash)?.dependencies ?? []) {
      const needed = edge.types.includes('link') || edge.types.includes('run');
      const node = nodes.get(edge.hash);
      if (!needed || node?.external) continue;
      if (present.has(edge.hash)) chosen.add(edge.hash);
      else missing.set(edge.hash, node ? describe(node) : `${edge.name}/${edge.hash.slice(0, 7)}`);
    }
  }
}

/** Nodes by hash: from the index, and for what it lacks from the packages themselves. */
async function nodesOf(
  mirror: MirrorReader,
  present: ReadonlyMap<string, PackageRef>,
  signal: AbortSignal,
): Promise<MirrorIndex> {
  const nodes = new Map<string, ConcreteNode>();
  for await (const node of eachNode(mirror, present, signal)) nodes.set(node.hash, node);
  return { hashes: new Set(present.keys()), nodes };
}

/** The same, one after the other; of what the index has also those that are not asked for. */
export async function* eachNode(
  mirror: MirrorReader,
  present: ReadonlyMap<string, PackageRef>,
  signal: AbortSignal,
): AsyncGenerator<ConcreteNode> {
  const seen = new Set<string>();
  if (await mirror.hasIndex(signal)) {
    for await (const { node } of mirror.indexEntries(signal)) {
      seen.add(node.hash);
      yield node;
    }
  }
  const reader = mirror.withPolicy({ kind: 'unsigned' });
  for (const ref of present.values()) {
    if (seen.has(ref.hash)) continue;
    const read = await reader.package(ref, signal).catch((error: unknown) => {
      // What a newer Spack wrote cannot be read; it must not hide the other packages of a shared mirror.
      if (!hasCode(error, 'newer')) throw error;
    });
    for (const [hash, node] of read?.document.nodes ?? []) {
      if (seen.has(hash)) continue;
      seen.add(hash);
      yield node;
    }
  }
}

/** An index that calls a package by another's name would have the one chosen for the other. */
function checkListed(ref: PackageRef, node: ConcreteNode | undefined, { url }: MirrorReader): void {
  if (!node || isSamePackage(ref, node)) return;
  throw new BuildcacheError(
    'wrong-package',
    `${describe(ref)}: the index of ${url} has ${describe(node)} in its place.`,
    { package: describe(ref), mirror: url, hint: 'Write the index anew: stackwright mirror index --full' },
  );
}

/** Whether a package, by its hash, is what a spec or `/HASH` means. */
function matcher(spec: string, nodes: ReadonlyMap<string, ConcreteNode>): (hash: string) => boolean {
  if (/^\/[a-z2-7]+$/.test(spec)) return (hash) => hash.startsWith(spec.slice(1));
  const parsed = parseSpec(spec);
  return (hash) => {
    const node = nodes.get(hash);
    return node !== undefined && satisfies(node, parsed, nodes);
  };
}

/** By name, version and hash. */
export function sortedPackages(refs: Iterable<PackageRef>): PackageRef[] {
  return [...refs].sort(
    (a, b) => compare(a.name, b.name) || compare(a.version, b.version) || compare(a.hash, b.hash),
  );
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
