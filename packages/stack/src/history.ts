import { readFile } from 'node:fs/promises';
import { type History, noHistory, parseHistory } from '@stackwright/job-graph';

/**
 * Build times from a file: ours, Spack's `install_times.json`, or `{"name": seconds}`.
 * @returns none where there is no such file
 * @throws JobGraphError for a file that holds something else
 */
export async function readHistory(file: string): Promise<History> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
  return text === undefined ? noHistory : parseHistory(text, file);
}
