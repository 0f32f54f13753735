import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { externals, graphOf, type Job, type JobGraph, prune, upToDate } from '@stackwright/job-graph';
import { type ConcreteNode, parseLock } from '@stackwright/spack-env';
import type { Caller } from '../caller.js';
import { StackError } from '../error.js';
import { namedBy } from '../jobs.js';
import { chooseMirrors, type MirrorOptions, StackMirrors } from '../mirrors.js';
import { childEnvironment } from '../secrets.js';
import type { Stack } from '../stack.js';
import { locate, survey } from '../survey.js';
import { stackTrust } from '../trust.js';
import {
  type Cause,
  type Change,
  causesOf,
  changesOf,
  type Difference,
  IndexedPackages,
  type Known,
  waysDown,
} from './changes.js';

export interface WhyOptions extends MirrorOptions {
  /** Only this package: `NAME`, `NAME@VERSION` or `/HASH`. */
  readonly spec?: string;
  /** Compare with the lock of this git revision instead of the mirrors. */
  readonly against?: string;
  /** Files of public keys whose signatures count besides those that the stack names. */
  readonly trust?: readonly string[];
}

/** A package as it is named in an explanation. */
export interface NamedPackage {
  readonly hash: string;
  readonly name: string;
  readonly version: string;
}

/** A change that others follow from. */
export interface ExplainedCause extends NamedPackage {
  /** What it was before; absent for a new package. */
  readonly nearest?: NamedPackage;
  readonly differences: readonly Difference[];
  /** How many packages are built for it. */
  readonly packages: number;
}

/** Why one package is built. */
export interface ExplainedPackage extends NamedPackage {
  /** `there`: it is not built; `refused`: what a mirror has does not count; `changed`: it is not there. */
  readonly state: 'there' | 'refused' | 'changed';
  /** Where it is, or why it does not count. */
  readonly reason?: string;
  readonly nearest?: NamedPackage;
  readonly differences: readonly Difference[];
  /** Dependencies that changed, each with the way down to a first cause. */
  readonly ways: readonly (readonly NamedPackage[])[];
}

export interface Explanation {
  /** What was compared with: mirrors, or a revision. */
  readonly against: readonly string[];
  /** Packages to build, of all. */
  readonly built: number;
  readonly packages: number;
  /** The first causes, those first for which most is built. */
  readonly causes: readonly ExplainedCause[];
  /** Packages that a mirror has and that do not count, by the reason. */
  readonly refused: readonly { readonly reason: string; readonly packages: number }[];
  /** The packages that were asked for; absent where none was. */
  readonly asked?: readonly ExplainedPackage[];
}

/**
 * Why the packages of a stack have to be built: what differs from the nearest ones in the mirrors, or in an earlier lock,
 * and which changes all others follow from.
 * @throws StackError `no-such-package` for a name that the lock lacks, `bad-value` for a revision without a lock
 */
export async function explainStack(caller: Caller, stack: Stack, options: WhyOptions): Promise<Explanation> {
  const graph = await stack.graph();
  const asked = options.spec === undefined ? undefined : jobsNamed(options.spec, graph);
  if (options.against !== undefined) {
    const nodes = graphOf(await lockAt(caller, stack, options.against)).jobs;
    const known = new Map([...nodes].map(([hash, { node }]) => [hash, node]));
    return explain(graph, asked, {
      against: [options.against],
      known: { nodes: known, isCandidate: () => true },
      decide: ({ hash, node }) =>
        node.external || known.has(hash) ? { there: options.against ?? '' } : undefined,
    });
  }
  const choice = await chooseMirrors(caller, stack, options);
  const mirrors = new StackMirrors(caller, choice, stackTrust(caller, stack, { trust: options.trust }));
  try {
    const nodes = [...graph.jobs.values()].map(({ node }) => node);
    const known = new IndexedPackages(graph);
    const found = await survey(mirrors, nodes, { onEntry: (entry) => known.add(entry) });
    const { decisions } = prune(graph, [externals, upToDate(locate(found))]);
    return explain(graph, asked, {
      against: mirrors.places.map(({ fetch }) => fetch),
      known,
      decide: ({ hash }) => {
        const { action, reason } = decisions.get(hash) ?? {};
        if (action === 'skip') return { there: reason ?? '' };
        return found.packages.get(hash)?.state === 'refused' ? { refused: reason ?? '' } : undefined;
      },
    });
  } finally {
    await mirrors.close();
  }
}

/** The first causes of what a pipeline builds, by what the indexes of the mirrors list. */
export function explainBuilds(
  known: Known,
  full: JobGraph,
  isBuilt: (hash: string) => boolean,
): ExplainedCause[] {
  // Where nothing is known, everything is new.
  const isEmpty = known.nodes.size === 0 && !known.versions?.size;
  if (isEmpty || ![...full.jobs.keys()].some(isBuilt)) return [];
  return causesOf(full, changesOf(full, known), isBuilt).map(describeCause);
}

/** A cause in a line: `zlib changed (version 1.2.13 → 1.3.1): 41 packages`. */
export function causeText({ name, version, nearest, differences, packages }: ExplainedCause): string {
  const what = nearest
    ? `${name} changed (${differences.map(differenceText).join(', ')})`
    : `${name}@${version} is new`;
  return `${what}: ${packages} package${packages === 1 ? '' : 's'}`;
}

/** A difference in a few words: `version 1.2.13 → 1.3.1`. */
export function differenceText({ kind, name, before, now }: Difference): string {
  if (kind === 'other') return 'something else of its spec';
  if (kind === 'recipe') return 'recipe';
  const what = kind === name ? name : `${kind} ${name}`;
  if (before === undefined) return `${what} ${now} added`;
  if (now === undefined) return `${what} ${before} gone`;
  return `${what} ${before} → ${now}`;
}

interface Comparison {
  readonly against: readonly string[];
  readonly known: Known;
  /** Where a package is, or why it does not count; undefined where it is not there. */
  decide(job: Job): { readonly there: string } | { readonly refused: string } | undefined;
}

function explain(
  graph: JobGraph,
  asked: readonly Job[] | undefined,
  { against, known, decide }: Comparison,
): Explanation {
  const decided = new Map([...graph.jobs.values()].map((job) => [job.hash, decide(job)]));
  const isBuilt = (hash: string) => {
    const decision = decided.get(hash);
    return decision === undefined || 'refused' in decision;
  };
  const changes = changesOf(graph, known);
  return {
    against,
    built: [...graph.jobs.keys()].filter(isBuilt).length,
    packages: graph.jobs.size,
    causes: causesOf(graph, changes, isBuilt).map(describeCause),
    refused: countReasons([...decided.values()]),
    asked: asked?.map((job) => explainPackage(job, decided.get(job.hash), changes)),
  };
}

function countReasons(decisions: readonly ReturnType<Comparison['decide']>[]): Explanation['refused'] {
  const counts = new Map<string, number>();
  for (const decision of decisions) {
    if (decision && 'refused' in decision)
      counts.set(decision.refused, (counts.get(decision.refused) ?? 0) + 1);
  }
  return [...counts].map(([reason, packages]) => ({ reason, packages }));
}

function explainPackage(
  { hash, node }: Job,
  decision: ReturnType<Comparison['decide']>,
  changes: ReadonlyMap<string, Change>,
): ExplainedPackage {
  const named = nameOf(node);
  if (decision && 'there' in decision)
    return { ...named, state: 'there', reason: decision.there, differences: [], ways: [] };
  if (decision) return { ...named, state: 'refused', reason: decision.refused, differences: [], ways: [] };
  const change = changes.get(hash);
  return {
    ...named,
    state: 'changed',
    nearest: change?.nearest && nameOf(change.nearest),
    differences: change?.own ?? [],
    ways: waysDown(hash, changes)
      .filter((way) => way.length > 1)
      .map((way) => way.map(({ job }) => nameOf(job.node))),
  };
}

function describeCause({ change: { job, nearest, own }, packages }: Cause): ExplainedCause {
  return { ...nameOf(job.node), nearest: nearest && nameOf(nearest), differences: own, packages };
}

function nameOf({ hash, name, version }: ConcreteNode): NamedPackage {
  return { hash, name, version };
}

function jobsNamed(spec: string, graph: JobGraph): Job[] {
  const jobs = [...graph.jobs.values()];
  return jobs.filter(namedBy([spec], jobs));
}

/** The lock of a stack as a git revision has it. */
async function lockAt({ env, signal }: Caller, stack: Stack, revision: string) {
  const name = `${revision}:./spack.lock`;
  // A revision that starts with a dash would be an option.
  if (revision.startsWith('-')) throw noLock(stack, revision);
  const { stdout } = await promisify(execFile)(
    'git',
    ['-C', stack.folder, 'show', '--end-of-options', name],
    {
      env: childEnvironment(env),
      maxBuffer: 1 << 30,
      signal,
    },
  ).catch((error: NodeJS.ErrnoException & { stderr?: string }) => {
    signal.throwIfAborted();
    if (error.code === 'ENOENT')
      throw new StackError('program', 'git is needed to read an earlier lock.', {
        hint: 'Install it: apt-get install git',
      });
    throw noLock(stack, revision, error.stderr?.trim());
  });
  return parseLock(stdout, `${stack.folder}/spack.lock at ${revision}`);
}

function noLock(stack: Stack, revision: string, why = ''): StackError {
  return new StackError('bad-value', `git has no ${stack.folder}/spack.lock at ${revision}. ${why}`.trim(), {
    hint: "Give a revision of the stack's repository in which the lock is committed: HEAD^, main, a tag or a commit.",
  });
}
