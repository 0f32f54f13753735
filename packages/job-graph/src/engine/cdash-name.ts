import type { JobGraph } from '../graph/graph.js';
import { architectureOf, compilerOf } from '../graph/node-text.js';

/** The name under which a job's build stands in CDash, as Spack forms it; it writes `none` where there is no compiler. */
export function cdashBuildName(graph: JobGraph, hash: string, group: string): string {
  const { spec } = graph.jobs.get(hash)!;
  const compiler = compilerOf(spec, (other) => graph.jobs.get(other)?.spec);
  const by = compiler
    ? compiler.hash
      ? `%${compiler.name}@${compiler.version}/${compiler.hash}`
      : `%${compiler.name}@=${compiler.version}`
    : 'none';
  return `${spec.name}@${spec.version}${by} hash=${hash} arch=${architectureOf(spec)} (${group})`;
}
