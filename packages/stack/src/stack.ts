import { stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { graphOf, type JobGraph } from '@stackwright/job-graph';
import {
  changedNodes,
  type Environment,
  formatFinding,
  type LoadOptions,
  type Lock,
  largestLock,
  loadEnvironment,
  parseLock,
  proveLock,
  readPlainFile,
  readStackSettings,
  SpackEnvError,
  type StackSettings,
} from '@stackwright/spack-env';
import type { Caller } from './caller.js';
import { StackError } from './error.js';
import { type IncludeRule, includeFetcher } from './includes.js';
import { once } from './once.js';
import { withheldFrom } from './secrets.js';

/** A stack's folder. What is in it is read when it is asked for, and once. */
export interface Stack {
  /** Absolute. */
  readonly folder: string;
  /** The folder's own name. */
  readonly name: string;
  /** What `stackwright.yaml` says. */
  readonly settings: StackSettings;
  /**
   * `spack.yaml` with all that it includes. Its warnings are told to the caller, once.
   * @throws SpackEnvError with every error of the manifest
   */
  environment(): Promise<Environment>;
  /** The groups that the caller chose; undefined for all. */
  readonly groups: readonly string[] | undefined;
  /**
   * What `spack.lock` has of the chosen groups.
   * @throws StackError when there is none, SpackEnvError when it is no lock, was changed by hand or lacks a group
   */
  lock(): Promise<Lock>;
  /** The same of all groups. */
  wholeLock(): Promise<Lock>;
  /** The jobs of the chosen groups. */
  graph(): Promise<JobGraph>;
}

/** How a stack is read: what Spack would call the machine that it is read for, and what may be fetched. */
export interface OpenOptions extends Omit<LoadOptions, 'env' | 'signal' | 'fetch'> {
  /** How includes by git and by URL are had; `fetch` when left out. */
  readonly includes?: IncludeRule;
}

/**
 * Opens a stack, named by its folder or by a file in it.
 * @throws StackError when the folder has no `spack.yaml`
 */
export async function openStack(caller: Caller, argument: string, options: OpenOptions = {}): Promise<Stack> {
  const folder = await stackFolder(caller, argument);
  const manifest = await stat(join(folder, 'spack.yaml')).catch(() => undefined);
  if (!manifest?.isFile()) {
    throw new StackError('not-a-stack', `${argument} is not a stack: it has no spack.yaml.`, {
      hint: 'Name the folder that holds it.',
    });
  }
  const lock = once(async () => {
    const read = await readLock(folder);
    tellChanged(caller, folder, read);
    return read;
  });
  return {
    folder,
    name: basename(folder),
    settings: await readStackSettings(folder),
    groups: undefined,
    environment: once(() => readEnvironment(caller, folder, options)),
    lock,
    wholeLock: lock,
    graph: once(async () => graphOf(await lock())),
  };
}

/** A stack's folder, however the user named it: the folder itself or a file in it. Absolute. */
export async function stackFolder({ cwd }: Pick<Caller, 'cwd'>, argument: string): Promise<string> {
  const path = resolve(cwd, argument);
  const found = await stat(path).catch(() => undefined);
  if (!found)
    throw new StackError('not-a-stack', `${argument}: no such folder.`, {
      hint: 'Give a folder with a spack.yaml.',
    });
  return found.isDirectory() ? path : dirname(path);
}

/** Whether a stack's folder holds a lock. */
export async function hasLock(folder: string): Promise<boolean> {
  return (await stat(join(folder, 'spack.lock')).catch(() => undefined))?.isFile() ?? false;
}

/**
 * The lock in a stack's folder.
 * @throws StackError when it has none, SpackEnvError when it is no lock or a node was changed after Spack wrote it
 */
export async function readLock(folder: string): Promise<Lock> {
  const file = join(folder, 'spack.lock');
  const text = await readPlainFile(file, largestLock).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
    throw new StackError('not-concretized', `${file}: no such file: the stack is not concretized.`, {
      hint: `Run: stackwright concretize ${folder}`,
      file,
    });
  });
  return parseLock(text, file);
}

/**
 * For work that builds or takes what the lock describes: every hash of the lock follows from its content.
 * @throws SpackEnvError naming each node that was changed after Spack wrote it
 */
export async function refuseChanged(stack: Stack): Promise<void> {
  const file = join(stack.folder, 'spack.lock');
  const changed = changedNodes(await stack.wholeLock(), file, await readPlainFile(file, largestLock));
  if (changed.length > 0) throw new SpackEnvError(changed);
}

/** For work that only plans: one line that says that such work would refuse the lock. */
function tellChanged({ note }: Caller, folder: string, lock: Lock): void {
  const [first, ...others] = proveLock(lock).changed;
  if (!first) return;
  const more = others.length > 0 ? ` and ${others.length} more specs` : '';
  note(
    `Warning: ${folder}/spack.lock: ${first.node.name}@${first.node.version}/${first.node.hash}${more} changed after Spack concretized it, so it cannot be built. stackwright check lists them.`,
  );
}

async function readEnvironment(
  { env, signal, note }: Caller,
  folder: string,
  { includes = 'fetch', ...options }: OpenOptions,
): Promise<Environment> {
  const fetch = includeFetcher(env, includes);
  const environment = await loadEnvironment(folder, {
    ...options,
    fetch,
    env,
    withheld: withheldFrom(env),
    signal,
  });
  const errors = environment.findings.filter(({ severity }) => severity === 'error');
  if (errors.length > 0) throw new SpackEnvError(errors);
  for (const finding of environment.findings) {
    if (finding.severity === 'warning') note(`Warning: ${formatFinding(finding)}`);
  }
  return environment;
}
