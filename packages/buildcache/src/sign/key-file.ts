import { readFile } from 'node:fs/promises';
import { BuildcacheError } from '../error.js';

/** Files of public keys with their texts, as `trustOf` takes them. @throws BuildcacheError `key` for one that can't be read */
export async function readKeyFiles(files: readonly string[]): Promise<{ text: string; from: string }[]> {
  return Promise.all(
    files.map(async (from) => ({
      from,
      text: await readFile(from, 'utf8').catch((error: NodeJS.ErrnoException) => {
        throw new BuildcacheError(
          'key',
          `The public key ${from} can't be read: ${error.code ?? error.message}.`,
          {
            file: from,
          },
        );
      }),
    })),
  );
}
