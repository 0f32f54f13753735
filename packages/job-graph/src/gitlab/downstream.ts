import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { JobGraphError } from '../error.js';

const run = promisify(execFile);

export interface DownstreamOptions {
  /** Any URL that git takes; a password in it is not printed. */
  readonly repository: string;
  readonly branch: string;
  readonly message: string;
  /** Texts by path in the repository; the pipeline itself is `.gitlab-ci.yml`. */
  readonly files: ReadonlyMap<string, string>;
  /** Folders to copy, by path in the repository. */
  readonly folders: ReadonlyMap<string, string>;
  /** What git gets; this process's environment when left out. */
  readonly env?: NodeJS.ProcessEnv;
  readonly signal?: AbortSignal;
}

/**
 * Makes a branch of another repository hold exactly a pipeline and what it needs, and pushes it: for servers without
 * child pipelines, which then run that branch. The branch's history is kept.
 * @returns the commit that the branch is at; the same as before when nothing changed
 * @throws JobGraphError (`failed`) when git could not clone, commit or push
 */
export async function pushDownstream(options: DownstreamOptions): Promise<string> {
  const { repository, branch, signal } = options;
  const folder = await mkdtemp(join(tmpdir(), 'stackwright-downstream-'));
  const env = { ...(options.env ?? process.env), GIT_TERMINAL_PROMPT: '0' };
  const git = async (...args: string[]) => {
    try {
      return (await run('git', ['-C', folder, ...args], { env, signal })).stdout.trim();
    } catch (error) {
      signal?.throwIfAborted();
      const said = ((error as { stderr?: string }).stderr ?? String(error)).trim();
      throw new JobGraphError(
        'downstream',
        `git ${args.find((arg) => !arg.startsWith('-'))} for the downstream repository ${hidden(repository)} failed: ${hidden(said)}`,
        { hint: 'Check DOWNSTREAM_CI_REPO and that it can be pushed to.' },
      );
    }
  };
  try {
    await git('init', '--quiet', '--initial-branch', branch);
    await git('remote', 'add', 'origin', repository);
    const exists = (await git('ls-remote', '--heads', 'origin', `refs/heads/${branch}`)) !== '';
    if (exists) {
      await git('fetch', '--quiet', '--depth=1', 'origin', `refs/heads/${branch}`);
      await git('reset', '--quiet', '--hard', 'FETCH_HEAD');
    }
    for (const name of await readdir(folder)) {
      if (name !== '.git') await rm(join(folder, name), { recursive: true });
    }
    for (const [path, text] of options.files) {
      await mkdir(dirname(join(folder, path)), { recursive: true });
      await writeFile(join(folder, path), text);
    }
    for (const [path, from] of options.folders) await cp(from, join(folder, path), { recursive: true });
    await git('add', '--all', '--force');
    const changed = (await git('status', '--porcelain')) !== '';
    if (changed || !exists) {
      const author = ['-c', 'user.name=Stackwright', '-c', 'user.email=stackwright@localhost'];
      await git(...author, '-c', 'commit.gpgsign=false', 'commit', '--quiet', '-m', options.message);
      // Not forced: if someone else pushed meanwhile, this run must not undo theirs.
      await git('push', '--quiet', 'origin', `HEAD:refs/heads/${branch}`);
    }
    return await git('rev-parse', 'HEAD');
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** A branch's name from any text. */
export function branchName(text: string): string {
  return text.replace(/[^\w./-]+/g, '-').replace(/\.{2,}|\/{2,}|^[./-]+|[./-]+$|\.lock$/g, '') || 'pipeline';
}

function hidden(text: string): string {
  return text.replace(/(\w+:\/\/)[^\s/@]+@/g, '$1***@');
}
