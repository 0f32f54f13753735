import { join } from 'node:path';
import {
  changedNodes,
  type Environment,
  type Finding,
  type LoadOptions,
  largestLock,
  loadEnvironment,
  parseLock,
  readPlainFile,
  SpackEnvError,
  unprovenNote,
} from '@stackwright/spack-env';
import { includeFetcher } from './includes.js';
import { withheldFrom } from './secrets.js';
import { stalenessOf } from './stale/staleness.js';

/**
 * Everything that is wrong or doubtful in a stack: its manifest with all that it includes, its lock, and how the two fit.
 * A manifest or lock that cannot be read at all has findings, too.
 * Nobody is contacted: of what is included by git and by URL only the cache is read.
 * @param path the folder with `spack.yaml`, or the file itself
 */
export async function findingsOf(path: string, options: LoadOptions): Promise<readonly Finding[]> {
  try {
    const env = options.env ?? process.env;
    const environment = await loadEnvironment(path, {
      fetch: includeFetcher(env, 'cached'),
      withheld: withheldFrom(env),
      ...options,
    });
    const { wrong, doubtful } = await lockFindings(environment.folder, environment, env);
    return [...environment.findings, ...wrong, ...doubtful];
  } catch (error) {
    if (error instanceof SpackEnvError) return error.findings;
    throw error;
  }
}

/** What there is to say of a lock. */
export interface LockFindings {
  /** It is broken, was edited by hand, or has other roots than the manifest. */
  readonly wrong: readonly Finding[];
  /** Something changed since it was written, or cannot be checked. */
  readonly doubtful: readonly Finding[];
}

/**
 * A lock is not needed, but one that is there must be whole, as Spack wrote it, and of this manifest.
 * @param environment left out where the manifest has errors: the lock is then looked at alone
 */
export async function lockFindings(
  folder: string,
  environment: Environment | undefined,
  env: NodeJS.ProcessEnv,
): Promise<LockFindings> {
  const file = join(folder, 'spack.lock');
  const text = await readPlainFile(file, largestLock).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (text === undefined) return { wrong: [], doubtful: [] };
  try {
    const lock = parseLock(text, file);
    const { roots, others } = environment
      ? await stalenessOf(environment, lock, env)
      : { roots: [], others: [] };
    const note = unprovenNote(lock, file);
    return {
      wrong: [...changedNodes(lock, file, text), ...roots],
      doubtful: [...others, ...(note ? [note] : [])],
    };
  } catch (error) {
    if (error instanceof SpackEnvError) return { wrong: error.findings, doubtful: [] };
    throw error;
  }
}
