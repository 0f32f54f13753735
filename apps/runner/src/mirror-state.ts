import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { hasCode, type Mirror, openMirror, type SignaturePolicy, trustOf } from '@stackwright/buildcache';
import type { Job, Location } from '@stackwright/job-graph';
import type { Mirror as ConfiguredMirror } from '@stackwright/spack-env';
import pLimit from 'p-limit';
import type { Context } from './context.js';
import { RunnerError } from './exit.js';
import { mirrorOptions } from './mirror-options.js';
import type { StackSettings } from './settings.js';

/** What the mirrors say of a stack's specs. */
export interface MirrorState {
  /** By hash: on which mirror a spec is, or why what is there does not count. */
  readonly locations: ReadonlyMap<string, Location>;
  /** Hashes that some mirror's index has. */
  readonly indexed: ReadonlySet<string>;
}

export interface MirrorStateOptions {
  /** Ask the indexes only, and for what they have. */
  readonly indexOnly: boolean;
  readonly env: NodeJS.ProcessEnv;
  /** Keys whose signatures count on mirrors that have to be signed; left out, that they are signed is enough. */
  readonly policy?: SignaturePolicy;
  readonly signal: AbortSignal;
}

/**
 * Asks all mirrors for all specs at once: first their indexes, then, unless `indexOnly`, for each spec that no index
 * has, the mirror itself. A manifest whose signature is missing or bad does not count, and the reason is told.
 */
export async function readMirrorState(
  mirrors: readonly ConfiguredMirror[],
  jobs: readonly Job[],
  options: MirrorStateOptions,
): Promise<MirrorState> {
  const { signal } = options;
  const locations = new Map<string, Location>();
  const indexed = new Set<string>();
  const limit = pLimit(32);
  const wanted = new Set(jobs.map((job) => job.hash));
  for (const configured of mirrors) {
    const signed = configured.signed ?? true;
    const mirror = await openMirror(configured.fetch.url, {
      ...mirrorOptions(configured.fetch, options.env),
      policy: signed && options.policy ? options.policy : { kind: 'unsigned' },
      signal,
    });
    const index = await readIndex(mirror, wanted, signal);
    for (const hash of index) indexed.add(hash);
    const look = async (job: Job) => {
      const inIndex = index.has(job.hash);
      const known = locations.get(job.hash);
      if ((known && 'mirror' in known) || (!inIndex && options.indexOnly)) return;
      // An index does not tell what is signed, and what is not cannot be installed from a mirror that has to be.
      const answer = inIndex && !signed ? { mirror: mirror.url } : await lookUp(mirror, job, signed, signal);
      if (answer) locations.set(job.hash, answer);
      else if (inIndex) locations.set(job.hash, { refused: `in the index of ${mirror.url}, but not there` });
    };
    await Promise.all(jobs.map((job) => limit(() => look(job))));
    await mirror.close();
  }
  return { locations, indexed };
}

/**
 * The rule that the stack's own trusted keys make; undefined where it names none.
 * @throws RunnerError for a key file that can't be read
 */
export async function trustedKeys(
  context: Context,
  { trust }: StackSettings,
  folder: string,
): Promise<SignaturePolicy | undefined> {
  if (trust.length === 0) return undefined;
  const keys = await readKeys(trust.map((file) => resolve(folder, file)));
  return { kind: 'trusted', trust: await trustOf({ keys, signal: context.signal }) };
}

/** Public keys' texts with the files they are from. */
export async function readKeys(files: readonly string[]): Promise<{ text: string; from: string }[]> {
  return Promise.all(
    files.map(async (from) => ({
      from,
      text: await readFile(from, 'utf8').catch((error: NodeJS.ErrnoException) => {
        throw new RunnerError(
          'input',
          `The public key ${from} can't be read: ${error.code ?? error.message}.`,
        );
      }),
    })),
  );
}

async function lookUp(
  mirror: Mirror,
  job: Job,
  signed: boolean,
  signal: AbortSignal,
): Promise<Location | undefined> {
  try {
    const manifest = await mirror.manifest(job.spec, signal);
    if (signed && !manifest.signed) return { refused: `not signed on ${mirror.url}` };
    return { mirror: mirror.url };
  } catch (error) {
    if (hasCode(error, 'missing-package')) return undefined;
    if (hasCode(error, 'signature-missing')) return { refused: `not signed on ${mirror.url}` };
    if (hasCode(error, 'signature-untrusted'))
      return { refused: `signed by a key that is not trusted on ${mirror.url}` };
    if (hasCode(error, 'signature-wrong', 'signature-expired', 'manifest'))
      return { refused: (error as Error).message };
    throw error;
  }
}

async function readIndex(
  mirror: Mirror,
  wanted: ReadonlySet<string>,
  signal: AbortSignal,
): Promise<Set<string>> {
  const found = new Set<string>();
  if (!(await mirror.indexManifest(signal))) return found;
  for await (const { node, inBuildcache } of mirror.indexEntries(signal)) {
    if (inBuildcache && wanted.has(node.hash)) found.add(node.hash);
  }
  return found;
}
