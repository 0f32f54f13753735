import { readFile, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { type Lock, parseLock } from '@stackwright/spack-env';
import type { Context } from './context.js';
import { RunnerError } from './exit.js';

/** A stack's folder, however the user named it: the folder itself or a file in it. */
export async function stackFolder(context: Context, stack: string): Promise<string> {
  const path = resolve(context.cwd, stack);
  const found = await stat(path).catch(() => undefined);
  if (!found) throw new RunnerError('input', `${stack}: no such folder.`, 'Give a folder with a spack.yaml.');
  return found.isDirectory() ? path : resolve(path, '..');
}

/** The lock of a stack. */
export async function readLock(folder: string): Promise<Lock> {
  const file = join(folder, 'spack.lock');
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
    throw new RunnerError(
      'input',
      `${file}: no such file: the stack is not concretized.`,
      `Run: stackwright concretize ${folder}`,
    );
  });
  return parseLock(text, file);
}
