import { readFile, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { type Lock, parseLock } from '@stackwright/spack-env';
import { RunnerError } from './exit.js';
import { readSettings, type StackSettings } from './settings.js';

/** A stack's folder, read. */
export interface Stack {
  /** Absolute. */
  readonly folder: string;
  /** The folder's own name. */
  readonly name: string;
  readonly settings: StackSettings;
}

/** Opens a stack's folder. @throws RunnerError when it is none */
export async function openStack(argument: string, cwd: string): Promise<Stack> {
  const given = resolve(cwd, argument);
  const folder = basename(given) === 'spack.yaml' ? resolve(given, '..') : given;
  const found = await stat(join(folder, 'spack.yaml')).catch(() => undefined);
  if (!found?.isFile()) {
    throw new RunnerError('input', `${argument} is not a stack: it has no spack.yaml.`, 'Name the folder that holds it.');
  }
  return { folder, name: basename(folder), settings: await readSettings(folder) };
}

/** Reads a stack's `spack.lock`; undefined when it has none yet. */
export async function readLock(stack: Stack): Promise<Lock | undefined> {
  const file = join(stack.folder, 'spack.lock');
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  return text === undefined ? undefined : parseLock(text, file);
}
