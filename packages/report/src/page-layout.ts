import { type JobGraph, levels, transitiveReduction } from '@stackwright/job-graph';

/** Where each job stands on a page, in a grid: what can be built first is at the left. */
export interface Layout {
  /** Column (fractions are never used) and row from 0; rows are centred, so halves occur. */
  readonly places: ReadonlyMap<string, { readonly column: number; readonly row: number }>;
  readonly columns: number;
  readonly rows: number;
  /** Pairs of dependency and dependent, without those that a longer way shows too. */
  readonly edges: readonly (readonly [from: string, to: string])[];
}

const sweeps = 6;

/** Puts jobs in columns by level and orders the columns so that edges cross little. */
export function layoutOf(graph: JobGraph): Layout {
  const reduced = transitiveReduction(graph);
  const level = levels(reduced);
  const byLevel: string[][] = [];
  for (const job of reduced.jobs.values()) (byLevel[level.get(job.hash)!] ??= []).push(job.hash);

  // Barycentre sweeps: a job moves towards the middle of its neighbours, alternately below and above.
  const height = new Map<string, number>();
  const settle = (hashes: string[]) => {
    for (const [at, hash] of hashes.entries()) height.set(hash, (at + 0.5) / hashes.length);
  };
  for (const hashes of byLevel) settle(hashes);
  for (let sweep = 0; sweep < sweeps; sweep++) {
    const down = sweep % 2 === 0;
    for (const hashes of down ? byLevel : [...byLevel].reverse()) {
      const wish = new Map(
        hashes.map((hash) => {
          const job = reduced.jobs.get(hash)!;
          const near = down ? job.dependencies : job.dependents;
          const sum = near.reduce((total, other) => total + height.get(other)!, 0);
          return [hash, near.length > 0 ? sum / near.length : height.get(hash)!];
        }),
      );
      hashes.sort((a, b) => wish.get(a)! - wish.get(b)!);
      settle(hashes);
    }
  }

  // A level of hundreds would be a thread-thin column: fold it so that the picture is not much higher than wide.
  const count = reduced.jobs.size;
  const limit = Math.max(12, Math.ceil(Math.sqrt(count) * 2.4));
  const places = new Map<string, { column: number; row: number }>();
  const rows = Math.min(limit, Math.max(1, ...byLevel.map((hashes) => hashes.length)));
  let column = 0;
  for (const hashes of byLevel) {
    const folds = Math.ceil(hashes.length / limit);
    const length = Math.ceil(hashes.length / folds);
    for (const [at, hash] of hashes.entries()) {
      const row = Math.floor(at / folds) + (rows - length) / 2;
      places.set(hash, { column: column + (at % folds), row });
    }
    column += folds;
  }
  const edges = [...reduced.jobs.values()].flatMap((job) =>
    job.dependencies.map((hash) => [hash, job.hash] as const),
  );
  return { places, columns: column, rows, edges };
}
