import { isShortCommit, resolveReference } from './clone.js';

/** Spack's own repository. */
export const usualRepository = 'https://github.com/spack/spack';

/** The Spack that wrote a lock, as the lock names it. */
export interface LockWriter {
  /** For example `1.1.0` or `1.2.0.dev0`. */
  readonly version: string;
  readonly commit?: string;
}

/** Which Spack is meant: a reference of a repository that git can clone. */
export interface SpackChoice {
  /** Undefined for Spack's own repository. */
  readonly repo: string | undefined;
  /** A branch, a tag or a whole commit hash; undefined where nothing says which. */
  readonly ref: string | undefined;
}

/**
 * Which Spack `SPACK_REPO` and `SPACK_REF` name. Without `SPACK_REF` it is the one that wrote the lock: a branch such as
 * `develop` may have moved on and write locks and binaries that nobody asked for. A short commit is made whole.
 * @throws SpackError (`no-git`, `no-reference`) for a short commit that the repository does not have
 */
export async function chooseSpack(
  env: NodeJS.ProcessEnv,
  writer: LockWriter | undefined,
  signal?: AbortSignal,
): Promise<SpackChoice> {
  const repo = env.SPACK_REPO || undefined;
  const ref = env.SPACK_REF || (writer && referenceOf(writer));
  if (!ref || !isShortCommit(ref)) return { repo, ref };
  return { repo, ref: await resolveReference(repo ?? usualRepository, ref, signal) };
}

/** The tag of a release; of everything else only the commit is certain. */
function referenceOf({ version, commit }: LockWriter): string | undefined {
  return /^\d+(\.\d+)+$/.test(version) ? `v${version}` : commit;
}
