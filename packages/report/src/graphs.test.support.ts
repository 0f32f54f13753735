import { readFileSync } from 'node:fs';
import { assemble, type Durations, graphOf, type JobGraph } from '@stackwright/job-graph';
import { parseLock } from '@stackwright/spack-env';
import { bareNode } from '@stackwright/testing';

/** The project's own little stack of 12 nodes. */
export const mini = graphOf(
  parseLock(readFileSync(new URL('../../job-graph/fixtures/mini/spack.lock', import.meta.url), 'utf8')),
);

/** A graph from `{ dependent: [dependencies] }`; what nothing depends on is a root. */
export function graph(edges: Readonly<Record<string, readonly string[]>>): JobGraph {
  const inner = new Set(Object.values(edges).flat());
  return assemble(
    [...new Set([...Object.keys(edges), ...inner])].map((name) => ({
      node: bareNode(name),
      root: !inner.has(name),
      dependencies: edges[name] ?? [],
    })),
  );
}

/** Some time for each job, always the same. */
export function someDurations(of: JobGraph): Durations {
  return new Map([...of.jobs.keys()].map((hash, at) => [hash, 10 + ((at * 37) % 300)]));
}
