import { resolve } from 'node:path';
import type { Environment, RootSpec } from '../config/environment.js';
import { formatSpec } from '../spec/format.js';
import { parseSpec } from '../spec/parse.js';
import type { IncludedLock, Lock, Root } from './lock.js';

/** How a lock differs from the manifest that it should be of. */
export interface LockDifference {
  /** Roots of the manifest that were not concretized. */
  readonly missing: readonly RootSpec[];
  /** Roots of the lock that the manifest does not ask for any more. */
  readonly extra: readonly Root[];
  /** Environments whose concrete specs the manifest includes, where the lock has others of them. */
  readonly included: readonly IncludedDifference[];
}

/** How the concrete specs of another environment differ from those that a lock took over. */
export interface IncludedDifference {
  /** The other environment's folder; absolute where the manifest includes it, else as the lock has it. */
  readonly path: string;
  /** `missing`: the lock does not have it. `extra`: the manifest includes it no more. `changed`: it was concretized again. */
  readonly change: 'missing' | 'extra' | 'changed';
}

/**
 * Compares the roots of a manifest and of its lock; a lock that is up to date has no difference. A root that moved to
 * another group differs, because groups are concretized apart. Locks before version 7 have no groups, and theirs are
 * not compared.
 * @param others the locks that are now in the environments that the manifest includes, by their folders; what is not
 *   there is not compared
 */
export function compareLock(
  environment: Environment,
  lock: Lock,
  others: ReadonlyMap<string, Lock> = new Map(),
): LockDifference {
  const { toolchains, dialect, variables } = environment;
  // Spack of before 1.0 and of today print the same spec differently: compare what is printed here.
  const canonical = (text: string, options = {}) =>
    formatSpec(parseSpec(text, { dialect, host: variables.host, ...options }));
  const written = lock.spack?.version.startsWith('0.') || lock.version < 6 ? '0.x' : '1.x';
  const inGroup = (group: string, spec: string) => (lock.version < 7 ? spec : `${group}: ${spec}`);
  const wanted = new Map<string, RootSpec>();
  for (const root of environment.specs) {
    wanted.set(inGroup(root.group, formatSpec(root.spec)), root);
  }
  const expanded = new Map<string, string>();
  for (const [key, root] of wanted) {
    expanded.set(inGroup(root.group, canonical(root.text, { toolchains })), key);
  }
  const met = new Set<string>();
  const extra = lock.roots.filter((root) => {
    const key = inGroup(root.group, canonical(root.spec, { dialect: written }));
    const found = wanted.has(key) ? key : expanded.get(key);
    if (found !== undefined) met.add(found);
    return found === undefined;
  });
  return {
    missing: [...wanted].filter(([key]) => !met.has(key)).map(([, root]) => root),
    extra,
    included: compareIncluded(environment, lock, others),
  };
}

function compareIncluded(
  { folder, includeConcrete }: Environment,
  lock: Lock,
  others: ReadonlyMap<string, Lock>,
): IncludedDifference[] {
  const differences: IncludedDifference[] = [];
  const left = new Set(lock.included.filter(({ direct }) => direct));
  for (const path of includeConcrete) {
    const now = others.get(path);
    const same = (included: IncludedLock) => now !== undefined && rootHashes(included) === rootHashes(now);
    // A lock from another machine has other paths, and the same hashes.
    const found =
      [...left].find((included) => resolve(folder, included.path) === path) ?? [...left].find(same);
    if (found) left.delete(found);
    if (!found) differences.push({ path, change: 'missing' });
    else if (now && !same(found)) differences.push({ path, change: 'changed' });
  }
  return [...differences, ...[...left].map(({ path }) => ({ path, change: 'extra' as const }))];
}

function rootHashes({ roots }: Pick<Lock, 'roots'>): string {
  return roots
    .map(({ hash }) => hash)
    .sort()
    .join();
}
