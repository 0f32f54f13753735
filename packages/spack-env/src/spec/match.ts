import type { ConcreteNode } from '../lock/node.js';
import { concreteSpec } from './concrete.js';
import { parseSpec } from './parse.js';
import { specSatisfies, specsIntersect } from './relation.js';
import type { Spec } from './spec.js';

const asSpec = (given: Spec | ConcreteNode | string, nodes?: ReadonlyMap<string, ConcreteNode>): Spec => {
  if (typeof given === 'string') return parseSpec(given);
  return 'variants' in given ? given : concreteSpec(given, nodes);
};

/**
 * Whether everything that `left` stands for is also what `right` asks for.
 * Virtual packages are known by the edges that name them: `^mpi` is satisfied where an edge provides mpi.
 * @param left a spec, its text, or a node of a lock
 * @param nodes the lock of a node on the left; without it nothing that asks for a dependency is satisfied
 */
export function satisfies(
  left: Spec | ConcreteNode | string,
  right: Spec | ConcreteNode | string,
  nodes?: ReadonlyMap<string, ConcreteNode>,
): boolean {
  const a = asSpec(left, nodes);
  const b = asSpec(right, nodes);
  return b === a || specSatisfies(a, b, true);
}

/** Whether some concrete spec is what both ask for. */
export function intersects(
  left: Spec | ConcreteNode | string,
  right: Spec | ConcreteNode | string,
  nodes?: ReadonlyMap<string, ConcreteNode>,
): boolean {
  return specsIntersect(asSpec(left, nodes), asSpec(right, nodes));
}
