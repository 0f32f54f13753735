import { Spack, SpackError } from '@stackwright/spack';
import type { Lock } from '@stackwright/spack-env';
import type { Caller } from './caller.js';
import { childEnvironment, referredVariables } from './secrets.js';
import { readLock, type Stack } from './stack.js';
import { writeOrigin } from './stale/origin.js';
import { listedRepositories, rememberRepositories } from './stale/recipes.js';

export interface ConcretizeOptions {
  /** Also what is concrete already. */
  readonly force?: boolean;
  /** Called with each line that Spack prints. */
  readonly onLine?: (line: string) => void;
}

/**
 * Has Spack concretize a stack, which writes its `spack.lock`, and writes beside it what it was made from.
 * @throws SpackError when there is no Spack, or it refuses
 */
export async function concretize(
  caller: Caller,
  stack: Stack,
  { force }: Pick<ConcretizeOptions, 'force'> = {},
): Promise<Lock> {
  const { env, signal, progress } = caller;
  const { config } = await stack.environment();
  const spack = await Spack.require('concretize', {
    env: childEnvironment(env, referredVariables(config)),
    signal,
  });
  return progress.phase(`Concretize ${stack.name} with Spack ${spack.version}`, ({ update }) =>
    writeLock(caller, stack, spack, { force, onLine: update }),
  );
}

/** The one way in which a lock is written: with a Spack that was found, and with `stackwright.lock` beside it. */
export async function writeLock(
  caller: Caller,
  stack: Stack,
  spack: Spack,
  { force, onLine }: ConcretizeOptions,
): Promise<Lock> {
  const { env, signal } = caller;
  await spack.concretize(stack.folder, { force, onLine, signal });
  const lock = await readLock(stack.folder);
  await rememberRepositories(await repositoriesOfSpack(caller, stack, spack), env);
  await writeOrigin(caller, await stack.environment(), lock, spack.version);
  return lock;
}

/** Where the repositories lie that Spack concretizes with, its own included. */
async function repositoriesOfSpack({ note, signal }: Caller, stack: Stack, spack: Spack): Promise<string[]> {
  try {
    const { stdout } = await spack.run(['repo', 'list'], { environment: stack.folder, signal });
    return listedRepositories(stdout);
  } catch (error) {
    if (!(error instanceof SpackError)) throw error;
    note(`Warning: Changes of Spack's own recipes will not be noticed: ${error.message}`);
    return [];
  }
}
