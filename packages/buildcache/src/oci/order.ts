import type { ConcreteNode } from '@stackwright/spack-env';

/**
 * The nodes that some packages link or run, and these themselves, each after all that it needs: the order of an image's
 * layers, lowest first. It is Spack's: the reverse of a topological order that goes by breadth, siblings by name.
 * Externals are left out.
 */
export function deepestFirst(
  roots: readonly ConcreteNode[],
  nodes: ReadonlyMap<string, ConcreteNode>,
): ConcreteNode[] {
  const children = new Map<string, ConcreteNode[]>();
  const waiting = new Map<string, number>();
  const found = [...roots];
  for (let node = found.shift(); node; node = found.shift()) {
    if (children.has(node.hash)) continue;
    const below = node.dependencies
      .filter((edge) => edge.types.includes('link') || edge.types.includes('run'))
      .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
      .flatMap((edge) => nodes.get(edge.hash) ?? []);
    children.set(node.hash, below);
    for (const child of below) waiting.set(child.hash, (waiting.get(child.hash) ?? 0) + 1);
    found.push(...below);
  }
  const order: ConcreteNode[] = [];
  const free = [...new Map(roots.map((root) => [root.hash, root])).values()].filter(
    (root) => !waiting.get(root.hash),
  );
  for (let node = free.shift(); node; node = free.shift()) {
    order.push(node);
    for (const child of children.get(node.hash) ?? []) {
      const left = waiting.get(child.hash)! - 1;
      waiting.set(child.hash, left);
      if (left === 0) free.push(child);
    }
  }
  return order.reverse().filter((node) => !node.external);
}
