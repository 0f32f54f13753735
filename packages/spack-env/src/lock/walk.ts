import type { ConcreteNode, DependencyType, Edge } from './node.js';

const follows = (edge: Edge, types: readonly DependencyType[] | undefined): boolean =>
  !types || edge.types.some((type) => types.includes(type));

/**
 * Orders nodes so that each comes after all it depends on; ties keep the order of the map. Linear.
 * @param types follow only edges that have one of these types; all when left out
 */
export function topological(
  nodes: ReadonlyMap<string, ConcreteNode>,
  types?: readonly DependencyType[],
): ConcreteNode[] {
  const order: ConcreteNode[] = [];
  const seen = new Set<string>();
  // An explicit stack: a chain of thousands of nodes must not exhaust the call stack.
  for (const start of nodes.keys()) {
    const stack: { node: ConcreteNode; next: number }[] = [];
    const enter = (hash: string) => {
      const node = nodes.get(hash);
      if (node && !seen.has(hash)) {
        seen.add(hash);
        stack.push({ node, next: 0 });
      }
    };
    enter(start);
    for (let top = stack.at(-1); top; top = stack.at(-1)) {
      const edge = top.node.dependencies[top.next++];
      if (edge === undefined) {
        order.push(top.node);
        stack.pop();
      } else if (follows(edge, types)) {
        enter(edge.hash);
      }
    }
  }
  return order;
}

/**
 * All nodes that the given ones reach, themselves included, in the order in which they are met. Linear.
 * @param types follow only edges that have one of these types; all when left out
 */
export function reachable(
  nodes: ReadonlyMap<string, ConcreteNode>,
  from: Iterable<string>,
  types?: readonly DependencyType[],
): Map<string, ConcreteNode> {
  const found = new Map<string, ConcreteNode>();
  const queue = [...from];
  for (let next = 0; next < queue.length; next++) {
    const hash = queue[next]!;
    const node = nodes.get(hash);
    if (!node || found.has(hash)) continue;
    found.set(hash, node);
    for (const edge of node.dependencies) if (follows(edge, types)) queue.push(edge.hash);
  }
  return found;
}
