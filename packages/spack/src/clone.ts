import { execa } from 'execa';
import { SpackError } from './error.js';

/**
 * Clones Spack into a folder (one commit deep), or leaves a clone of the same commit as it is.
 * @param repo a URL or path that git can clone; @param ref a branch, tag or commit
 * @throws SpackError when git is missing or refuses
 */
export async function cloneSpack(
  repo: string,
  ref: string,
  folder: string,
  signal?: AbortSignal,
): Promise<void> {
  const git = async (...args: string[]) => {
    const done = await execa('git', args, {
      reject: false,
      cancelSignal: signal,
      env: { GIT_TERMINAL_PROMPT: '0' },
    });
    if (done.code === 'ENOENT')
      throw new SpackError('missing', 'git is needed to clone Spack.', {
        hint: 'Install it: apt-get install git',
      });
    if (done.failed) {
      throw new SpackError(
        'missing',
        `git could not get ${ref} of ${withoutPassword(repo)}: ${withoutPassword(done.stderr.trim())}`,
        {
          hint: 'Check SPACK_REPO and SPACK_REF.',
        },
      );
    }
    return done.stdout.trim();
  };
  await git('init', '--quiet', folder);
  await git('-C', folder, 'fetch', '--quiet', '--depth=1', repo, ref);
  await git('-C', folder, 'checkout', '--quiet', '--detach', 'FETCH_HEAD');
}

function withoutPassword(text: string): string {
  return text.replace(/(\/\/)[^/@\s]*@/g, '$1***@');
}
