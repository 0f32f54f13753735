import { execFile } from 'node:child_process';
import { realpath } from 'node:fs/promises';
import { relative } from 'node:path';
import { promisify } from 'node:util';
import { JobGraphError } from '../error.js';

const run = promisify(execFile);

/** Two revisions of a git repository. */
export interface Revisions {
  readonly from: string;
  readonly to: string;
}

/** What the last commit changed, which for a merge is the branch that was merged. */
export const lastCommit: Revisions = { from: 'HEAD^', to: 'HEAD' };

/**
 * Names of the packages of a repository of recipes that were added, removed or changed between two revisions.
 * @param folder the repository's root, with `repo.yaml` and `packages`
 * @returns undefined when the folder is in no git checkout
 * @throws JobGraphError (`missing`) when git or a revision is not there
 */
export async function changedPackages(
  folder: string,
  revisions: Revisions = lastCommit,
  signal?: AbortSignal,
): Promise<Set<string> | undefined> {
  const files = await changedFiles(folder, revisions, signal);
  if (!files) return undefined;
  const names = new Set<string>();
  for (const file of files.below) {
    const [, name] = /^packages\/([^/]+)\//.exec(file) ?? [];
    if (name) names.add(packageName(name));
  }
  return names;
}

/** Whether a stack's own folder, or the pipeline that generates, changed. False outside of a git checkout. */
export async function stackChanged(
  folder: string,
  revisions: Revisions = lastCommit,
  signal?: AbortSignal,
): Promise<boolean> {
  const files = await changedFiles(folder, revisions, signal);
  return (
    files !== undefined &&
    (files.below.length > 0 || files.all.some((file) => /(^|\/)\.gitlab-ci\.yml$/.test(file)))
  );
}

/** A package's name from its folder's; from version 2.0 of repositories on that is a Python module's name. */
function packageName(folder: string): string {
  return folder.replace(/^_+/, '').replaceAll('_', '-');
}

async function changedFiles(folder: string, { from, to }: Revisions, signal: AbortSignal | undefined) {
  const git = async (...args: string[]) =>
    (await run('git', ['-C', folder, ...args], { signal, maxBuffer: 1 << 28 })).stdout;
  let root: string;
  try {
    root = (await git('rev-parse', '--show-toplevel')).trim();
  } catch (error) {
    const { code, stderr = '' } = error as { code?: unknown; stderr?: string };
    if (code === 'ENOENT') {
      throw new JobGraphError('no-git', 'git is not installed, so what changed cannot be told.');
    }
    if (/not a git repository/.test(stderr)) return undefined;
    throw new JobGraphError('git', `git cannot read ${folder}: ${stderr.trim()}`);
  }
  for (const revision of [from, to]) {
    await git('rev-parse', '--verify', '--quiet', `${revision}^{commit}`).catch(() => {
      throw new JobGraphError(
        'no-revision',
        `${root} has no revision ${revision}, so what changed cannot be told.`,
        { hint: 'A shallow clone needs a depth of 2 or more: in GitLab set GIT_DEPTH.' },
      );
    });
  }
  const all = (await git('diff', '--name-only', '-z', from, to)).split('\0').filter(Boolean);
  const inside = relative(root, await realpath(folder)).replaceAll('\\', '/');
  const prefix = inside ? `${inside}/` : '';
  return {
    all,
    below: all.filter((file) => file.startsWith(prefix)).map((file) => file.slice(prefix.length)),
  };
}
