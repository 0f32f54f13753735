import type { JobGraph } from '../graph/graph.js';
import { architectureOf, compilerOf } from '../graph/node-text.js';

/** The name under which a job's build stands in CDash, as Spack forms it; it writes `none` where there is no compiler. */
export function cdashBuildName(graph: JobGraph, hash: string, group: string): string {
  const { node } = graph.jobs.get(hash)!;
  const compiler = compilerOf(node, (other) => graph.jobs.get(other)?.node);
  const by = compiler
    ? compiler.hash
      ? `%${compiler.name}@${compiler.version}/${compiler.hash}`
      : `%${compiler.name}@=${compiler.version}`
    : 'none';
  return `${node.name}@${node.version}${by} hash=${hash} arch=${architectureOf(node)} (${group})`;
}
