import { assemble, type JobGraph } from './graph.js';

/** For each job its position and a bit set of all positions that it reaches, itself left out. */
interface Reach {
  readonly place: ReadonlyMap<string, number>;
  readonly words: number;
  readonly bits: Uint32Array;
}

function reachOf(graph: JobGraph): Reach {
  const hashes = [...graph.jobs.keys()];
  const place = new Map(hashes.map((hash, at) => [hash, at]));
  const words = (hashes.length + 31) >> 5;
  const bits = new Uint32Array(hashes.length * words);
  for (const [at, hash] of hashes.entries()) {
    const own = at * words;
    for (const dependency of graph.jobs.get(hash)!.dependencies) {
      const to = place.get(dependency)!;
      const theirs = to * words;
      // A dependency stands earlier, so its set has no bits beyond its own word.
      for (let word = 0; word <= to >> 5; word++) bits[own + word]! |= bits[theirs + word]!;
      bits[own + (to >> 5)]! |= 1 << (to & 31);
    }
  }
  return { place, words, bits };
}

/** The fewest edges that reach as much: an edge goes when a longer way leads to the same job. */
export function transitiveReduction(graph: JobGraph): JobGraph {
  const { place, words, bits } = reachOf(graph);
  return assemble(
    [...graph.jobs.values()].map((job) => ({
      node: job.node,
      root: job.root,
      dependencies: job.dependencies.filter((hash) => {
        const to = place.get(hash)!;
        // No set has its own job, so a dependency never stands in its own way.
        return !job.dependencies.some(
          (other) => bits[place.get(other)! * words + (to >> 5)]! & (1 << (to & 31)),
        );
      }),
    })),
  );
}
