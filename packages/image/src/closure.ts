import { type ConcreteNode, type Lock, reachable, topological } from '@stackwright/spack-env';

/**
 * The packages that an image of a stack holds: the roots and all that they link to or run, directly or not.
 * Dependencies come before dependents, in the lock's own order where that leaves a choice, so that the layers that
 * change least often lie lowest. Externals are left out: the base image has to provide them.
 * @param roots dag hashes; all roots of the lock when left out
 */
export function runtimeClosure(
  lock: Lock,
  roots: readonly string[] = lock.roots.map((root) => root.hash),
): ConcreteNode[] {
  const wanted = reachable(lock.nodes, roots, ['link', 'run']);
  const chosen = new Map([...lock.nodes].filter(([hash, node]) => wanted.has(hash) && !node.external));
  return topological(chosen, ['link', 'run']);
}

/**
 * The packages whose folders belong on an image's search paths: the roots, then what they need to run, nearest first.
 * @returns dag hashes
 */
export function searchOrder(
  lock: Lock,
  roots: readonly string[] = lock.roots.map((root) => root.hash),
): string[] {
  const order = new Set(roots);
  // A Set goes on with what is added while it is walked.
  for (const hash of order) {
    for (const edge of lock.nodes.get(hash)?.dependencies ?? []) {
      if (edge.types.includes('run') && !lock.nodes.get(edge.hash)?.external) order.add(edge.hash);
    }
  }
  return [...order];
}
