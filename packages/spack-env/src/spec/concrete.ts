import type { ConcreteNode, Edge } from '../lock/node.js';
import type { CompilerFlag, Spec, SpecEdge, Variant } from './spec.js';
import { compilerFlagNames, dependencyTypes, orderEdges } from './spec.js';
import { compareText } from './text.js';
import { exactVersion } from './version.js';

const noNodes: ReadonlyMap<string, ConcreteNode> = new Map();
const made = new WeakMap<ReadonlyMap<string, ConcreteNode>, WeakMap<ConcreteNode, Spec>>();

/**
 * A node of a lock as a spec, with what is below it. Made once for each node and lock; dependencies are made
 * when they are looked at, so that a node of a large lock costs nothing.
 * @param nodes the lock's nodes; without them the spec has no dependencies
 */
export function concreteSpec(node: ConcreteNode, nodes: ReadonlyMap<string, ConcreteNode> = noNodes): Spec {
  let ofLock = made.get(nodes);
  if (!ofLock) made.set(nodes, (ofLock = new WeakMap()));
  let spec = ofLock.get(node);
  if (!spec) ofLock.set(node, (spec = makeSpec(node, nodes)));
  return spec;
}

function makeSpec(node: ConcreteNode, nodes: ReadonlyMap<string, ConcreteNode>): Spec {
  const lists = node.raw as { propagate?: unknown; abstract?: unknown };
  const propagated = new Set(Array.isArray(lists.propagate) ? lists.propagate : []);
  const abstract = new Set(Array.isArray(lists.abstract) ? lists.abstract : []);
  const variants = new Map<string, Variant>();
  const flags = new Map<string, readonly CompilerFlag[]>();
  for (const [name, value] of Object.entries(node.parameters)) {
    const propagate = propagated.has(name);
    if ((compilerFlagNames as readonly string[]).includes(name)) {
      const list = Array.isArray(value) ? (value as readonly string[]) : [];
      if (list.length > 0)
        flags.set(
          name,
          list.map((flag) => ({ flag: String(flag), propagate })),
        );
    } else {
      variants.set(name, nodeVariant(name, value, propagate, !abstract.has(name)));
    }
  }
  if (node.patches.length > 0 && !variants.has('patches')) {
    variants.set('patches', nodeVariant('patches', node.patches, false, true));
  }
  const { platform, os, target } = node.arch;
  let edges: readonly SpecEdge[] | undefined;
  return {
    name: node.name,
    namespace: node.namespace,
    versions: exactVersion(node.version),
    variants,
    flags,
    arch: platform || os || target ? { platform, os, target } : undefined,
    hash: node.hash,
    node,
    get dependencies() {
      edges ??= orderEdges(node.dependencies.flatMap((edge) => makeEdge(edge, nodes)));
      return edges;
    },
  };
}

function makeEdge(edge: Edge, nodes: ReadonlyMap<string, ConcreteNode>): SpecEdge[] {
  const child = nodes.get(edge.hash);
  if (!child) return [];
  return [
    {
      spec: concreteSpec(child, nodes),
      types: dependencyTypes.filter((type) => edge.types.includes(type)),
      virtuals: [...edge.virtuals].sort(compareText),
      direct: edge.direct,
      propagate: false,
      when: undefined,
    },
  ];
}

function nodeVariant(
  name: string,
  value: ConcreteNode['parameters'][string],
  propagate: boolean,
  exact: boolean,
): Variant {
  if (Array.isArray(value)) {
    const values = [...new Set((value as readonly string[]).map(String))].sort(compareText);
    return { name, type: 'multi', values, exact, propagate };
  }
  if (/^(true|false)$/i.test(String(value))) {
    return { name, type: 'bool', values: [/^true$/i.test(String(value))], exact: true, propagate };
  }
  return { name, type: 'single', values: [String(value)], exact: true, propagate };
}
