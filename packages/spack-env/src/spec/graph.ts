import type { Spec, SpecEdge } from './spec.js';
import { compareText } from './text.js';

/** All specs from this one down, each once; in Spack's order. */
export function* traverse(root: Spec): Generator<Spec> {
  const seen = new Set<Spec>([root]);
  // Depth first, first dependency first, without recursion.
  const stack = [root];
  for (let spec = stack.pop(); spec; spec = stack.pop()) {
    yield spec;
    for (const { spec: child } of [...spec.dependencies].reverse()) {
      if (!seen.has(child)) {
        seen.add(child);
        stack.push(child);
      }
    }
  }
}

export const hasType = (edge: SpecEdge, ...types: SpecEdge['types']) =>
  edge.types.length === 0 || edge.types.some((type) => types.includes(type));

const byNameAndHash = (edges: readonly SpecEdge[]) =>
  edges.length < 2
    ? edges
    : [...edges].sort(
        (a, b) => compareText(a.spec.name, b.spec.name) || compareText(a.spec.hash ?? '', b.spec.hash ?? ''),
      );

/** Every edge that leads to what runs with `root`: link and run, all the way down, breadth first. */
export function* runEdges(root: Spec): Generator<SpecEdge> {
  const seen = new Set<Spec>();
  const queue = [root];
  for (let next = 0; next < queue.length; next++) {
    const spec = queue[next]!;
    if (seen.has(spec)) continue;
    seen.add(spec);
    for (const edge of byNameAndHash(spec.dependencies.filter((edge) => hasType(edge, 'link', 'run')))) {
      yield edge;
      queue.push(edge.spec);
    }
  }
}

/** A dependency by the name of its package or of a virtual that it provides; a spec finds itself. */
export function lookup(root: Spec, name: string): Spec | undefined {
  const fits = (edge: SpecEdge) => edge.spec.name === name || edge.virtuals.includes(name);
  const direct = root.dependencies.find((edge) => hasType(edge, 'build', 'test') && fits(edge));
  if (direct) return direct.spec;
  if (root.name === name) return root;
  for (const edge of runEdges(root)) if (fits(edge)) return edge.spec;
  return undefined;
}

/** All edges from a spec down, depth first. */
export function* edgesOf(root: Spec): Generator<{ readonly parent: Spec; readonly edge: SpecEdge }> {
  const seen = new Set<Spec>();
  const stack: { parent: Spec; edge: SpecEdge }[] = [];
  const open = (parent: Spec) => {
    if (seen.has(parent)) return;
    seen.add(parent);
    for (const edge of [...byNameAndHash(parent.dependencies)].reverse()) stack.push({ parent, edge });
  };
  open(root);
  for (let top = stack.pop(); top; top = stack.pop()) {
    yield top;
    open(top.edge.spec);
  }
}

/** As {@link lookup}, but in gcc@14 %gcc@12 the gcc below: a spec is no dependency of itself. */
export function child(spec: Spec, name: string): Spec | undefined {
  const found = lookup(spec, name);
  return found === spec ? spec.dependencies.find((edge) => edge.spec.name === name)?.spec : found;
}
