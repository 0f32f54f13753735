import { readFile } from 'node:fs/promises';
import type { RunSummary } from './build/run.js';
import { StackError } from './error.js';
import type { WorkFolder } from './work.js';

/**
 * What the last run left in `run.json`; undefined where there was none.
 * @throws StackError `work-folder` for a file that is none
 */
export async function readRun(work: WorkFolder): Promise<RunSummary | undefined> {
  const text = await readFile(work.result, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as RunSummary;
  } catch (error) {
    throw new StackError('work-folder', `${work.result} is broken: ${(error as Error).message}.`, {
      hint: 'Delete it.',
      file: work.result,
    });
  }
}
