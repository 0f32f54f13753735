import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { AnyMirror } from '@stackwright/buildcache';
import type { Job, Location } from '@stackwright/job-graph';
import { connectionOptions } from '@stackwright/spack-env';
import pLimit from 'p-limit';
import type { ConfiguredMirror } from './ci-config.js';
import { type Context, note } from './context.js';

/** What the mirrors say of a stack's specs. */
export interface MirrorState {
  /** By hash: on which mirror a spec is, or why what is there does not count. */
  readonly locations: ReadonlyMap<string, Location>;
  /** Hashes that some mirror's index has. */
  readonly indexed: ReadonlySet<string>;
}

export interface MirrorStateOptions {
  /** Believe the indexes, and look at nothing else. */
  readonly indexOnly: boolean;
  /** Files of public keys whose signatures count, relative to the stack; any signature does when there are none. */
  readonly trust: readonly string[];
  readonly folder: string;
}

/**
 * Asks the mirrors for all specs: first the index, then, unless `indexOnly`, the manifest of each spec that the index
 * lacks, and on a mirror that has to be signed also of those it has, as an index tells nothing of signatures.
 */
export async function readMirrorStates(
  context: Context,
  mirrors: readonly ConfiguredMirror[],
  jobs: readonly Job[],
  options: MirrorStateOptions,
): Promise<MirrorState> {
  const locations = new Map<string, Location>();
  const indexed = new Set<string>();
  const limit = pLimit(32);
  for (const configured of mirrors) {
    const { fetch, signed } = configured;
    if (await isNew(fetch)) continue;
    const mirror = await open(context, configured, options);
    try {
      const index = await readIndex(mirror, context.signal).catch(async (error: unknown) => {
        const { BuildcacheError } = await import('@stackwright/buildcache');
        if (options.indexOnly || !(error instanceof BuildcacheError)) throw error;
        note(context, `Warning: ${error.message} Going on without the index, spec by spec.`);
        return new Set<string>();
      });
      await Promise.all(
        jobs.map((job) =>
          limit(async () => {
            const inIndex = index.has(job.hash);
            if (inIndex) indexed.add(job.hash);
            const known = locations.get(job.hash);
            if ((known && 'mirror' in known) || (options.indexOnly && !inIndex)) return;
            const found: Location | undefined =
              options.indexOnly || (inIndex && !signed)
                ? { mirror: fetch }
                : await look(mirror, job, configured, inIndex, context.signal);
            if (found) locations.set(job.hash, found);
          }),
        ),
      );
    } finally {
      limit.clearQueue();
      await mirror.close();
    }
  }
  return { locations, indexed };
}

async function look(
  mirror: AnyMirror,
  { node }: Job,
  { fetch, signed }: ConfiguredMirror,
  inIndex: boolean,
  signal: AbortSignal,
): Promise<Location | undefined> {
  const { hasCode, isUnvouched } = await import('@stackwright/buildcache');
  try {
    const manifest = await mirror.manifest(node, signal);
    return signed && !manifest.signed ? { refused: `not signed on ${fetch}` } : { mirror: fetch };
  } catch (error) {
    if (hasCode(error, 'missing-package')) {
      return inIndex ? { refused: `in the index of ${fetch}, but not there` } : undefined;
    }
    if (hasCode(error, 'signature-missing')) return { refused: `not signed on ${fetch}` };
    if (hasCode(error, 'signature-wrong')) return { refused: `wrongly signed on ${fetch}` };
    if (hasCode(error, 'signature-untrusted')) return { refused: `signed by no trusted key on ${fetch}` };
    if (hasCode(error, 'signature-expired', 'key-expired'))
      return { refused: `signature expired on ${fetch}` };
    if (isUnvouched(error)) return { refused: `its signature on ${fetch} does not count (${error.code})` };
    if (hasCode(error, 'manifest')) return { refused: `broken manifest on ${fetch}` };
    throw error;
  }
}

async function open(
  { env, signal }: Context,
  { fetch, signed, connection }: ConfiguredMirror,
  { trust, folder }: MirrorStateOptions,
): Promise<AnyMirror> {
  const options = { ...connectionOptions(connection?.fetch, env), signal };
  // Loaded late: a stack whose mirror is still to be made does not wait for it.
  const { openAnyMirror, readKeyFiles, trustOf } = await import('@stackwright/buildcache');
  if (!signed || trust.length === 0) return openAnyMirror(fetch, options);
  const keys = await readKeyFiles(trust.map((file) => resolve(folder, file)));
  return openAnyMirror(fetch, {
    ...options,
    policy: { kind: 'trusted', trust: await trustOf({ keys, signal }) },
  });
}

async function readIndex(mirror: AnyMirror, signal: AbortSignal): Promise<ReadonlySet<string>> {
  const hashes = new Set<string>();
  if (!(await mirror.hasIndex(signal))) return hashes;
  for await (const { node, inBuildcache } of mirror.indexEntries(signal)) {
    if (inBuildcache) hashes.add(node.hash);
  }
  return hashes;
}

/** Whether a mirror is a folder that nothing was pushed to yet. */
async function isNew(url: string): Promise<boolean> {
  if (!url.startsWith('file://')) return false;
  const found = await stat(fileURLToPath(url)).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
  return found === undefined;
}
