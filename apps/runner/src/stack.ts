import { readFile, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import {
  type Environment,
  formatFinding,
  type LoadOptions,
  type Lock,
  loadEnvironment,
  parseLock,
  readStackSettings,
  SpackEnvError,
  type StackSettings,
} from '@stackwright/spack-env';
import { type Context, note } from './context.js';
import { RunnerError } from './exit.js';

/** A stack's folder, read. */
export interface Stack {
  /** Absolute. */
  readonly folder: string;
  /** The folder's own name. */
  readonly name: string;
  readonly settings: StackSettings;
}

/** Opens a stack. @throws RunnerError when the folder has no `spack.yaml` */
export async function openStack(context: Context, argument: string): Promise<Stack> {
  const folder = await stackFolder(context, argument);
  const manifest = await stat(join(folder, 'spack.yaml')).catch(() => undefined);
  if (!manifest?.isFile()) {
    throw new RunnerError(
      'input',
      `${argument} is not a stack: it has no spack.yaml.`,
      'Name the folder that holds it.',
    );
  }
  return { folder, name: basename(folder), settings: await readStackSettings(folder) };
}

/** A stack's folder, however the user named it: the folder itself or a file in it. Absolute. */
export async function stackFolder(context: Context, argument: string): Promise<string> {
  const path = resolve(context.cwd, argument);
  const found = await stat(path).catch(() => undefined);
  if (!found)
    throw new RunnerError('input', `${argument}: no such folder.`, 'Give a folder with a spack.yaml.');
  return found.isDirectory() ? path : dirname(path);
}

/** Whether the stack has been concretized. */
export async function hasLock(folder: string): Promise<boolean> {
  return (await stat(join(folder, 'spack.lock')).catch(() => undefined))?.isFile() ?? false;
}

/** The lock of a stack. @throws RunnerError when it has none, SpackEnvError when it is no lock */
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

/**
 * Reads a stack's manifest with all that it includes. Warnings are printed.
 * @throws SpackEnvError with every error of the manifest
 */
export async function readEnvironment(
  context: Context,
  folder: string,
  options: LoadOptions = {},
): Promise<Environment> {
  const environment = await loadEnvironment(folder, { env: context.env, signal: context.signal, ...options });
  const errors = environment.findings.filter(({ severity }) => severity === 'error');
  if (errors.length > 0) throw new SpackEnvError(errors);
  for (const finding of environment.findings) {
    if (finding.severity === 'warning') note(context, `Warning: ${formatFinding(finding)}`);
  }
  return environment;
}
