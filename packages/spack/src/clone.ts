import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { SpackError } from './error.js';
import { isThere } from './is-there.js';

const commitHash = /^[0-9a-f]{40}$/;
const shortHash = /^[0-9a-f]{4,39}$/;

/**
 * Clones Spack, one commit deep, into a folder below `parent` that is named by the commit. A folder that exists already
 * is used as it is, and any number of processes may ask for the same commit at once.
 * @param repo a URL or path that git can clone
 * @param ref a branch, a tag or a commit hash, whole or short
 * @returns the folder
 * @throws SpackError (`no-git`, `no-reference`)
 */
export async function cloneSpack(
  repo: string,
  ref: string,
  parent: string,
  signal?: AbortSignal,
): Promise<string> {
  const commit = await resolveReference(repo, ref, signal);
  const folder = join(parent, commit);
  if (await isThere(join(folder, 'bin', 'spack'))) return folder;
  const git = gitFor(repo, ref, signal);
  await mkdir(parent, { recursive: true });
  const fresh = await mkdtemp(join(parent, '.clone-'));
  try {
    await git('init', '--quiet', fresh);
    await git('-C', fresh, 'fetch', '--quiet', '--depth=1', repo, commit.startsWith(ref) ? commit : ref);
    await git('-C', fresh, 'checkout', '--quiet', '--detach', 'FETCH_HEAD');
    await rename(fresh, folder).catch(async (error: NodeJS.ErrnoException) => {
      // Another process was quicker.
      if (!(await isThere(join(folder, 'bin', 'spack')))) throw error;
    });
    return folder;
  } finally {
    await rm(fresh, { recursive: true, force: true });
  }
}

/** Whether a reference can be a commit hash of which only the start was given. */
export function isShortCommit(ref: string): boolean {
  return shortHash.test(ref);
}

/**
 * The commit that a branch, a tag or a short commit hash of a repository stands for. A name goes before a hash.
 * @throws SpackError (`no-git`, `no-reference`)
 */
export async function resolveReference(repo: string, ref: string, signal?: AbortSignal): Promise<string> {
  if (commitHash.test(ref)) return ref;
  const git = gitFor(repo, ref, signal);
  const named = commitOf(await git('ls-remote', repo, ref, `${ref}^{}`));
  if (named) return named;
  if (!isShortCommit(ref)) throw refused(repo, ref, 'there is no such branch or tag.');
  const tips = new Set((await git('ls-remote', repo)).split('\n').map((line) => line.slice(0, 40)));
  const [tip, ...others] = [...tips].filter((hash) => hash.startsWith(ref));
  if (tip && others.length === 0) return tip;
  return commitInHistory(repo, ref, signal);
}

/** Only a clone knows the commits that no branch or tag points to. It holds the commits and no files. */
async function commitInHistory(repo: string, ref: string, signal?: AbortSignal): Promise<string> {
  const git = gitFor(repo, ref, signal);
  const history = await mkdtemp(join(tmpdir(), 'stackwright-history-'));
  try {
    await git('clone', '--quiet', '--bare', '--filter=tree:0', repo, history);
    return await git('-C', history, 'rev-parse', '--quiet', '--verify', `${ref}^{commit}`);
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof SpackError && error.code === 'no-git') throw error;
    throw refused(repo, ref, 'there is no such branch or tag, and not exactly one commit that starts so.');
  } finally {
    await rm(history, { recursive: true, force: true });
  }
}

/** Runs git for a reference of a repository, which its errors name. */
function gitFor(repo: string, ref: string, signal?: AbortSignal) {
  return async (...args: string[]): Promise<string> => {
    const done = await execa('git', args, {
      reject: false,
      cancelSignal: signal,
      env: { GIT_TERMINAL_PROMPT: '0' },
    });
    signal?.throwIfAborted();
    if (done.code === 'ENOENT') {
      throw new SpackError('no-git', 'git is needed to clone Spack.', {
        hint: 'Install it: apt-get install git',
      });
    }
    if (done.failed) throw refused(repo, ref, done.stderr.trim());
    return done.stdout.trim();
  };
}

function refused(repo: string, ref: string, why: string): SpackError {
  return new SpackError(
    'no-reference',
    `git could not get ${ref} of ${withoutPassword(repo)}: ${withoutPassword(why)}`,
    { hint: 'Check SPACK_REPO and SPACK_REF.' },
  );
}

/** The commit in what `git ls-remote` prints: of an annotated tag the one that it stands for. */
function commitOf(listing: string): string | undefined {
  const lines = listing.split('\n').filter(Boolean);
  return (lines.find((line) => line.endsWith('^{}')) ?? lines[0])?.slice(0, 40);
}

function withoutPassword(text: string): string {
  return text.replace(/(\/\/)[^/@\s]*@/g, '$1***@');
}
