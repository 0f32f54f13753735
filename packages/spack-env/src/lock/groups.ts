import { SpackEnvError } from '../error.js';
import type { Lock } from './lock.js';
import type { ConcreteNode } from './node.js';
import { reachable } from './walk.js';

/** The names of the groups that a lock's roots are in, in the order in which the roots stand. */
export function groupsOf({ roots }: Lock): string[] {
  return [...new Set(roots.map(({ group }) => group))];
}

/**
 * A lock with nothing but the roots of some groups and all that they need, over edges of every type.
 * @throws SpackEnvError (`unknown-group`) for a group that the lock does not have, naming those that it has
 */
export function lockOfGroups(lock: Lock, names: readonly string[]): Lock {
  const roots = rootsIn(lock, names);
  const nodes = reachable(
    lock.nodes,
    roots.map(({ hash }) => hash),
  );
  return withNodes(lock, roots, (hash) => nodes.has(hash));
}

/**
 * A lock with what some groups ship: their roots and what these need, but without the roots of other groups that are
 * only needed to build, and without what only those need. So the compiler of a needed group stays out, and all that was
 * built with it is in.
 * @throws SpackEnvError (`unknown-group`) for a group that the lock does not have, naming those that it has
 */
export function shippedLock(lock: Lock, names: readonly string[]): Lock {
  const roots = rootsIn(lock, names);
  const own = new Set(roots.map(({ hash }) => hash));
  const others = new Set(lock.roots.map(({ hash }) => hash).filter((hash) => !own.has(hash)));
  const kept = new Set(own);
  // A Set goes on with what is added while it is walked.
  for (const hash of kept) {
    for (const edge of lock.nodes.get(hash)?.dependencies ?? []) {
      const onlyBuilds = edge.types.every((type) => type === 'build' || type === 'test');
      if (!(onlyBuilds && others.has(edge.hash))) kept.add(edge.hash);
    }
  }
  return withNodes(lock, roots, (hash) => kept.has(hash));
}

function rootsIn(lock: Lock, names: readonly string[]): Lock['roots'] {
  const known = groupsOf(lock);
  const unknown = names.find((name) => !known.includes(name));
  if (unknown !== undefined) throw unknownGroup(unknown, known, 'The lock');
  return lock.roots.filter(({ group }) => names.includes(group));
}

function withNodes(lock: Lock, roots: Lock['roots'], isKept: (hash: string) => boolean): Lock {
  // The order of the lock stays, because layers of images follow it.
  const nodes = new Map<string, ConcreteNode>([...lock.nodes].filter(([hash]) => isKept(hash)));
  return { ...lock, roots, included: [], nodes };
}

/** @param where what was looked into, as the subject of a sentence */
export function unknownGroup(name: string, known: readonly string[], where: string): SpackEnvError {
  return new SpackEnvError({
    severity: 'error',
    code: 'unknown-group',
    message: `${where} has no group "${name}".`,
    hint: known.length > 0 ? `It has ${known.join(', ')}.` : 'It has none.',
    text: name,
  });
}
