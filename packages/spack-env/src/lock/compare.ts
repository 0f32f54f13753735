import type { Environment, RootSpec } from '../config/environment.js';
import { formatSpec } from '../spec/format.js';
import { parseSpec } from '../spec/parse.js';
import type { Lock, Root } from './lock.js';

/** How a lock differs from the manifest that it should be of. */
export interface LockDifference {
  /** Roots of the manifest that were not concretized. */
  readonly missing: readonly RootSpec[];
  /** Roots of the lock that the manifest does not ask for any more. */
  readonly extra: readonly Root[];
}

/**
 * Compares the roots of a manifest and of its lock; a lock that is up to date has no difference. A root that moved to
 * another group differs, because groups are concretized apart. Locks before version 7 have no groups, and theirs are
 * not compared.
 */
export function compareLock(environment: Environment, lock: Lock): LockDifference {
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
  return { missing: [...wanted].filter(([key]) => !met.has(key)).map(([, root]) => root), extra };
}
