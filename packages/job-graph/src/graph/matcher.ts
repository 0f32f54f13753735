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
 * A virtual package's name matches the nodes that provide it: those that say so, as nodes of Spack 1.3 do, and those
 * that provide it to some other node of the lock.
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

/** The virtual packages that each node provides, by its hash. */
function virtuals(lock: Lock): Map<string, Set<string>> {
  const provided = new Map<string, Set<string>>();
  const add = (hash: string, names: readonly string[]) => {
    if (names.length === 0) return;
    const own = provided.get(hash) ?? new Set();
    for (const name of names) own.add(name);
    provided.set(hash, own);
  };
  for (const node of lock.nodes.values()) {
    // A virtual may have a version, as in libgfortran@5.
    add(
      node.hash,
      node.providedVirtuals.map((text) => text.replace(/@.*/s, '')),
    );
    for (const edge of node.dependencies) add(edge.hash, edge.virtuals);
  }
  return provided;
}
