import { mkdir } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import { holdLock, lockHolder } from '@stackwright/storage';
import type { Caller } from './caller.js';
import { StackError } from './error.js';
import { privateFolder } from './private-folder.js';
import type { Stack } from './stack.js';

/** The files of a run, all below one folder that can be deleted at any time. */
export interface WorkFolder {
  readonly root: string;
  /** The run's own mirror, where the stack's is only read. */
  readonly mirror: string;
  /** OCI layout with the tag `latest`. */
  readonly image: string;
  /** Checked blobs and what is known of them. */
  readonly cache: string;
  /** The environment that Spack builds in. */
  readonly environment: string;
  /** Spack's installation tree where the stack's own can't be written to. */
  readonly tree: string;
  readonly logs: string;
  /** Where stand-alone tests run, and what they leave. */
  readonly tests: string;
  /** What repeats failed builds, a folder each. */
  readonly reproductions: string;
  /** What became of each build, for reports. */
  readonly builds: string;
  /** What runs did with each package, JSON lines. */
  readonly journal: string;
  readonly pipeline: string;
  readonly report: string;
  readonly bill: string;
  /** The result as JSON, for programs. */
  readonly result: string;
  /** How long builds took, for the next run's order. */
  readonly history: string;
  /** Keys that Spack trusts in this run, and the run's own signing key. */
  readonly keys: string;
  /** A path as a person would type it. */
  show(path: string): string;
}

/**
 * Keeps other runs out of a work folder.
 * @returns ends that
 * @throws StackError `in-use` naming the process that has it
 */
export async function lockWork({ signal }: Caller, work: WorkFolder): Promise<() => Promise<void>> {
  const taken = await holdLock(lockPath(work), signal);
  if ('release' in taken) return taken.release;
  const { pid, host } = taken.holder;
  throw new StackError('in-use', `${work.root} is in use by another run: process ${pid} on ${host}.`, {
    hint: 'Wait for it to end, or give this run a folder of its own with --work.',
    file: work.root,
  });
}

/** Whether a run works in a work folder; not one that was killed. */
export async function isRunning(work: WorkFolder): Promise<boolean> {
  return (await lockHolder(lockPath(work))) !== undefined;
}

function lockPath(work: WorkFolder): string {
  return join(work.root, 'run');
}

/** Opens the folder of a stack's runs: `--work`, or `.stackwright/NAME` where the command was called. */
export async function openWork({ cwd }: Caller, stack: Stack, option?: string): Promise<WorkFolder> {
  const root = resolve(cwd, option ?? join('.stackwright', stack.name));
  // A folder that the user works in stays as it is.
  if (isAbove(root, cwd) || isAbove(root, stack.folder)) await mkdir(root, { recursive: true });
  else await privateFolder(root);
  return {
    root,
    mirror: join(root, 'mirror'),
    image: join(root, 'image'),
    cache: join(root, 'cache'),
    environment: join(root, 'environment'),
    tree: join(root, 'opt'),
    logs: join(root, 'logs'),
    tests: join(root, 'tests'),
    reproductions: join(root, 'reproduction'),
    builds: join(root, 'builds'),
    journal: join(root, 'journal.jsonl'),
    pipeline: join(root, 'pipeline.gitlab-ci.yml'),
    report: join(root, 'report.html'),
    bill: join(root, 'image.spdx.json'),
    result: join(root, 'run.json'),
    history: join(root, 'history.json'),
    keys: join(root, 'keys'),
    show: (path) => {
      const short = relative(cwd, path);
      return short.startsWith('..') ? path : short || '.';
    },
  };
}

function isAbove(folder: string, path: string): boolean {
  return !relative(folder, path).startsWith('..');
}
