import { assemble, byName, type JobGraph } from '../graph/graph.js';
import { levels } from '../graph/order.js';

/** Some jobs of a graph, which are written into one file. */
export interface Wave {
  /** With only the edges between its own jobs. */
  readonly graph: JobGraph;
  readonly text: string;
}

interface WaveOptions {
  /** How much of the text a job takes by estimate, in bytes. */
  readonly weight: (hash: string) => number;
  /** The most bytes that a file may have. */
  readonly limit: number;
  readonly write: (wave: JobGraph) => string;
}

/**
 * Cuts a graph that is too large for one file into waves: the jobs of a wave depend only on jobs of the same wave and
 * of earlier ones. A single job that is too large is a wave that exceeds the limit.
 */
export function wavesOf(graph: JobGraph, { weight, limit, write }: WaveOptions): Wave[] {
  const level = levels(graph);
  const order = [...graph.jobs.values()].sort(
    (a, b) => level.get(a.hash)! - level.get(b.hash)! || byName(a.node, b.node),
  );
  const cut = (hashes: readonly string[]): Wave[] => {
    const wave = induced(graph, new Set(hashes));
    const text = write(wave);
    if (Buffer.byteLength(text) <= limit || hashes.length === 1) return [{ graph: wave, text }];
    const middle = hashes.length >> 1;
    return [...cut(hashes.slice(0, middle)), ...cut(hashes.slice(middle))];
  };
  return chunks(
    order.map((job) => job.hash),
    weight,
    // The estimate is not exact, and a wave that comes out too large is cut in two halves.
    limit * 0.95,
  ).flatMap(cut);
}

function chunks(hashes: readonly string[], weight: (hash: string) => number, limit: number): string[][] {
  const result: string[][] = [];
  let room = 0;
  for (const hash of hashes) {
    const own = weight(hash);
    if (own > room || result.length === 0) {
      result.push([]);
      room = limit;
    }
    room -= own;
    result.at(-1)!.push(hash);
  }
  return result;
}

/** Only some jobs, with only the edges between them. */
function induced(graph: JobGraph, hashes: ReadonlySet<string>): JobGraph {
  return assemble(
    [...graph.jobs.values()]
      .filter((job) => hashes.has(job.hash))
      .map(({ node, root, dependencies }) => ({
        node,
        root,
        dependencies: dependencies.filter((hash) => hashes.has(hash)),
      })),
  );
}

/** Numbers of one width, so that names sort in the order of the waves. */
export function waveNumber(at: number, count: number): string {
  return String(at).padStart(String(count - 1).length, '0');
}
