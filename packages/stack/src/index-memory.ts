import { createHash, randomBytes } from 'node:crypto';
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { IndexMemory } from '@stackwright/buildcache';
import { cacheFolder } from './cache-folder.js';
import { privateFolder } from './private-folder.js';

/**
 * The last counter of each mirror's signed index that this user saw, a file for each mirror in the user's cache. A file
 * that is torn counts as none. Deleting one forgets the mirror.
 */
export function indexMemory(env: NodeJS.ProcessEnv): IndexMemory {
  const folder = join(cacheFolder(env), 'indexes');
  const fileOf = (mirror: string) =>
    join(folder, `${createHash('sha256').update(mirror).digest('hex').slice(0, 32)}.json`);
  const recall = async (mirror: string): Promise<number | undefined> => {
    const text = await readFile(fileOf(mirror), 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return '';
      throw error;
    });
    return counterIn(text);
  };
  return {
    recall,
    remember: async (mirror, counter) => {
      await privateFolder(folder);
      const file = fileOf(mirror);
      const temporary = `${file}.${randomBytes(6).toString('hex')}.tmp`;
      try {
        await writeFile(temporary, `${JSON.stringify({ mirror, counter })}\n`, { mode: 0o600 });
        await rename(temporary, file);
      } finally {
        await rm(temporary, { force: true });
      }
    },
  };
}

function counterIn(text: string): number | undefined {
  try {
    const { counter } = JSON.parse(text) as { counter?: unknown };
    return Number.isSafeInteger(counter) ? (counter as number) : undefined;
  } catch {
    return undefined;
  }
}
