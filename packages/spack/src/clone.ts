import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { SpackError } from './error.js';
import { isThere } from './is-there.js';

const commitHash = /^[0-9a-f]{40}$/;

/**
 * Clones Spack, one commit deep, into a folder below `parent` that is named by the commit; one that is there already is
 * used as it is, and any number of processes may ask for the same.
 * @param repo a URL or path that git can clone
 * @param ref a branch, a tag or a whole commit hash
 * @returns the folder
 * @throws SpackError when git is missing or refuses
 */
export async function cloneSpack(
  repo: string,
  ref: string,
  parent: string,
  signal?: AbortSignal,
): Promise<string> {
  const git = async (...args: string[]) => {
    const done = await execa('git', args, {
      reject: false,
      cancelSignal: signal,
      env: { GIT_TERMINAL_PROMPT: '0' },
    });
    signal?.throwIfAborted();
    if (done.code === 'ENOENT')
      throw new SpackError('missing', 'git is needed to clone Spack.', {
        hint: 'Install it: apt-get install git',
      });
    if (done.failed) throw refused(done.stderr.trim());
    return done.stdout.trim();
  };
  const refused = (why: string) =>
    new SpackError(
      'missing',
      `git could not get ${ref} of ${withoutPassword(repo)}: ${withoutPassword(why)}`,
      {
        hint: 'Check SPACK_REPO and SPACK_REF.',
      },
    );
  const commit = commitHash.test(ref) ? ref : commitOf(await git('ls-remote', repo, ref, `${ref}^{}`));
  if (!commit) throw refused('there is no such branch or tag.');
  const folder = join(parent, commit);
  if (await isThere(join(folder, 'bin', 'spack'))) return folder;
  await mkdir(parent, { recursive: true });
  const fresh = await mkdtemp(join(parent, '.clone-'));
  try {
    await git('init', '--quiet', fresh);
    await git('-C', fresh, 'fetch', '--quiet', '--depth=1', repo, ref);
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

/** The commit in what `git ls-remote` prints: of an annotated tag the one that it stands for. */
function commitOf(listing: string): string | undefined {
  const lines = listing.split('\n').filter(Boolean);
  return (lines.find((line) => line.endsWith('^{}')) ?? lines[0])?.slice(0, 40);
}

function withoutPassword(text: string): string {
  return text.replace(/(\/\/)[^/@\s]*@/g, '$1***@');
}
