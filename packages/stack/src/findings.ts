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
    return [...environment.findings, ...(await lockFindings(environment, env))];
  } catch (error) {
    if (error instanceof SpackEnvError) return error.findings;
    throw error;
  }
}

/** A lock is not needed, but one that is there must be whole, as Spack wrote it, and of this manifest. */
async function lockFindings(environment: Environment, env: NodeJS.ProcessEnv): Promise<readonly Finding[]> {
  const file = join(environment.folder, 'spack.lock');
  const text = await readPlainFile(file, largestLock).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (text === undefined) return [];
  try {
    const lock = parseLock(text, file);
    const { roots, others } = await stalenessOf(environment, lock, env);
    const note = unprovenNote(lock, file);
    return [...changedNodes(lock, file, text), ...roots, ...others, ...(note ? [note] : [])];
  } catch (error) {
    if (error instanceof SpackEnvError) return error.findings;
    throw error;
  }
}
