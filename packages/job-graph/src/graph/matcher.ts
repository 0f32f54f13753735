import {
  type ConcreteNode,
  concreteSpec,
  type Lock,
  parseSpec,
  type Spec,
  satisfies,
} from '@stackwright/spack-env';

/**
 * Whether a node of a lock is what a spec text, such as a submapping's `match`, asks for. Each text is read once.
 * A virtual package's name matches the nodes that provide it to some other node of the lock.
 * @throws SpackEnvError when the text is no spec
 */
export function matcherOf(lock: Lock): (node: ConcreteNode, text: string) => boolean {
  const specs = new Map<string, Spec>();
  let provided: ReadonlyMap<string, ReadonlySet<string>> | undefined;
  return (node, text) => {
    let spec = specs.get(text);
    if (!spec) specs.set(text, (spec = parseSpec(text)));
    // Most texts are names of other packages; making a spec of the node costs much more than this.
    if (spec.name !== '' && spec.name !== node.name) {
      provided ??= virtuals(lock);
      return text.trim() === spec.name && provided.get(node.hash)?.has(spec.name) === true;
    }
    return satisfies(concreteSpec(node, lock.nodes), spec, lock.nodes);
  };
}

/** The virtual packages that each node provides to another. */
function virtuals(lock: Lock): Map<string, Set<string>> {
  const provided = new Map<string, Set<string>>();
  for (const node of lock.nodes.values()) {
    for (const edge of node.dependencies) {
      if (edge.virtuals.length === 0) continue;
      const own = provided.get(edge.hash) ?? new Set();
      for (const name of edge.virtuals) own.add(name);
      provided.set(edge.hash, own);
    }
  }
  return provided;
}
