import { createHash } from 'node:crypto';
import { byName, type Job, type JobGraph } from '../graph/graph.js';
import { levels } from '../graph/order.js';
import { transitiveReduction } from '../graph/reduction.js';

/** GitLab refuses a job that needs more than this many others. */
export const maximumNeeds = 50;

/** A job that does nothing but wait for others, so that a later job can need it in their place. */
export interface Joint {
  /** Of its members; two jobs that wait for the same share it. */
  readonly id: string;
  /** Hashes of jobs, or ids of joints. */
  readonly members: readonly string[];
  /** The highest level of all that it waits for. */
  readonly level: number;
}

export interface Needs {
  /** For each job the hashes of jobs, and ids of joints, that it needs. */
  readonly of: ReadonlyMap<string, readonly string[]>;
  /** A joint stands after the joints that it needs. */
  readonly joints: readonly Joint[];
}

/**
 * What each job needs, never more than `limit`: all direct dependencies where these are few enough; else without those
 * that others of them need too; else gathered by joints.
 */
export function needsOf(graph: JobGraph, limit = maximumNeeds): Needs {
  const joints = new Map<string, Joint>();
  const of = new Map<string, readonly string[]>();
  let reduced: JobGraph | undefined;
  let level: ReadonlyMap<string, number> = new Map();
  const gather = (members: readonly string[]): readonly string[] => {
    if (members.length <= limit) return members;
    const ids: string[] = [];
    // Chunks of a list in a fixed order: jobs with nearly the same dependencies share most of their joints.
    for (let at = 0; at < members.length; at += limit) {
      const chunk = members.slice(at, at + limit);
      if (chunk.length === 1) {
        ids.push(chunk[0]!);
        continue;
      }
      const id = `joint-${createHash('sha256').update(chunk.join()).digest('hex').slice(0, 12)}`;
      const highest = Math.max(...chunk.map((hash) => level.get(hash) ?? joints.get(hash)!.level));
      joints.set(id, { id, members: chunk, level: highest });
      ids.push(id);
    }
    return gather(ids);
  };
  for (const job of graph.jobs.values()) {
    if (job.dependencies.length <= limit) {
      of.set(job.hash, job.dependencies);
      continue;
    }
    if (!reduced) {
      reduced = transitiveReduction(graph);
      level = levels(graph);
    }
    const least = [...reduced.jobs.get(job.hash)!.dependencies].sort(byLevel(graph, level));
    of.set(job.hash, gather(least));
  }
  return { of, joints: [...joints.values()] };
}

function byLevel(graph: JobGraph, level: ReadonlyMap<string, number>): (a: string, b: string) => number {
  const spec = (hash: string): Job['node'] => graph.jobs.get(hash)!.node;
  return (a, b) => level.get(a)! - level.get(b)! || byName(spec(a), spec(b));
}
