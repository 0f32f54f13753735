import { Spack } from '@stackwright/spack';
import type { Lock } from '@stackwright/spack-env';
import type { Caller } from './caller.js';
import { childEnvironment, referredVariables } from './secrets.js';
import { readLock, type Stack } from './stack.js';

/**
 * Has Spack concretize a stack, which writes its `spack.lock`.
 * @param options.force also what is concrete already
 * @throws SpackError when there is no Spack, or it refuses
 */
export async function concretize(
  { env, signal, progress }: Caller,
  stack: Stack,
  { force }: { readonly force?: boolean } = {},
): Promise<Lock> {
  const { config } = await stack.environment();
  const spack = await Spack.require('concretize', {
    env: childEnvironment(env, referredVariables(config)),
    signal,
  });
  await progress.phase(`Concretize ${stack.name} with Spack ${spack.version}`, ({ update }) =>
    spack.concretize(stack.folder, { force, onLine: update, signal }),
  );
  return readLock(stack.folder);
}
