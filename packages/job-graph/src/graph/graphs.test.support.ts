import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseLock } from '@stackwright/spack-env';
import { bareNode as node } from '@stackwright/testing';
import fc from 'fast-check';
import { assemble, graphOf, type JobGraph } from './graph.js';

export { node };

/** The project's own little stack of 12 nodes. */
export const miniLock = parseLock(
  readFileSync(new URL('../../fixtures/mini/spack.lock', import.meta.url), 'utf8'),
);
export const mini = graphOf(miniLock);

/** The measured ground truth beside the repository; absent in a checkout of the project alone. */
export const shared = fileURLToPath(new URL('../../../../../shared/', import.meta.url));

/** The hash of the spec with this name; for graphs in which names are unique. */
export function hashOf(graph: JobGraph, name: string): string {
  return [...graph.jobs.values()].find((job) => job.node.name === name)!.hash;
}

/** A graph from `{ dependent: [dependencies] }`; what nothing depends on is a root. */
export function graph(edges: Readonly<Record<string, readonly string[]>>): JobGraph {
  const inner = new Set(Object.values(edges).flat());
  const names = new Set([...Object.keys(edges), ...inner]);
  return assemble(
    [...names].map((name) => ({
      node: node(name),
      root: !inner.has(name),
      dependencies: edges[name] ?? [],
    })),
  );
}

/** Random graphs: an edge only goes from a later name to an earlier one, so there are no cycles. */
export const anyGraph = (maximum = 24): fc.Arbitrary<JobGraph> =>
  fc.integer({ min: 1, max: maximum }).chain((count) =>
    fc
      .array(fc.tuple(fc.nat(count - 1), fc.nat(count - 1)), { maxLength: count * 3, size: 'max' })
      .map((pairs) => {
        const edges: Record<string, string[]> = {};
        // Names that do not sort in the order of the edges, so that order by name alone would be found out.
        const name = (at: number) => `p${(at * 7919) % 997}`;
        for (let at = 0; at < count; at++) edges[name(at)] = [];
        for (const [a, b] of pairs) if (a !== b) edges[name(Math.max(a, b))]!.push(name(Math.min(a, b)));
        return graph(edges);
      }),
  );

/** Seconds for each job of a graph, repeatable. */
export function someDurations(of: JobGraph, seed = 1): Map<string, number> {
  let state = seed;
  return new Map(
    [...of.jobs.keys()].map((hash) => {
      state = (state * 48271) % 2147483647;
      // A few long jobs among many short ones, as in real stacks.
      return [hash, 5 + 600 * (state / 2147483647) ** 3];
    }),
  );
}
