import { readPlainFile, SpackEnvError } from '@stackwright/spack-env';
import { BuildcacheError } from '../error.js';

/** Bytes; a key has some thousand. */
const largestKey = 4 * 1024 * 1024;

/** Files of public keys with their texts, as `trustOf` takes them. @throws BuildcacheError `key` for one that can't be read */
export async function readKeyFiles(files: readonly string[]): Promise<{ text: string; from: string }[]> {
  return Promise.all(
    files.map(async (from) => ({
      from,
      text: await readPlainFile(from, largestKey).catch((error: NodeJS.ErrnoException | SpackEnvError) => {
        throw new BuildcacheError(
          'key',
          error instanceof SpackEnvError
            ? `The public key can't be read: ${error.message}`
            : `The public key ${from} can't be read: ${error.code ?? error.message}.`,
          {
            file: from,
          },
        );
      }),
    })),
  );
}
