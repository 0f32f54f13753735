import { createHash } from 'node:crypto';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Environment, Lock } from '@stackwright/spack-env';
import type { Caller } from '../caller.js';
import { commitOf, findRepositories, hashRecipes } from './recipes.js';
import { settingsOf } from './settings.js';

/** The file beside `spack.lock` that tells what the lock was made from. It is to be committed with it. */
export const originFile = 'stackwright.lock';

/** What `stackwright.lock` holds: JSON, keys in alphabetical order where they are names. */
export interface LockOrigin {
  readonly version: 1;
  /** Digest of the lock's roots (SHA-256, hexadecimal): what is said here is true of no other lock. */
  readonly roots: string;
  /** The Spack that concretized. */
  readonly spack: { readonly version: string; readonly commit?: string };
  /** By path, as Spack writes it: a digest of the value. Absent where a part of the configuration could not be read. */
  readonly settings?: Readonly<Record<string, string>>;
  /** By namespace. */
  readonly recipes: Readonly<
    Record<
      string,
      {
        /** Of the checkout that the repository lies in. */
        readonly commit?: string;
        /** By package: the hash that git gives the recipe's folder. */
        readonly packages: Readonly<Record<string, string>>;
      }
    >
  >;
}

/** Looks at what a lock was just made from, and writes it down beside the lock. */
export async function writeOrigin(
  { env, signal }: Caller,
  environment: Environment,
  lock: Lock,
  spackVersion: string,
): Promise<void> {
  const repositories = await findRepositories(environment, lock, env);
  const recipes: Record<string, LockOrigin['recipes'][string]> = {};
  for (const [namespace, packages] of await hashRecipes(lock, repositories)) {
    const repository = repositories.get(namespace);
    const commit = repository && (await commitOf(repository, env, signal));
    recipes[namespace] = { commit, packages: Object.fromEntries(packages) };
  }
  const settings = [...settingsOf(environment)].map(([path, { digest }]) => [path, digest] as const);
  const origin: LockOrigin = {
    version: 1,
    roots: rootsDigest(lock),
    spack: { version: lock.spack?.version ?? spackVersion, commit: lock.spack?.commit },
    settings: isWhole(environment) ? Object.fromEntries(settings) : undefined,
    recipes,
  };
  const file = join(environment.folder, originFile);
  const temporary = `${file}.${process.pid}.tmp`;
  await writeFile(temporary, `${JSON.stringify(origin, null, 2)}\n`);
  await rename(temporary, file);
}

/** What is written down of the origin of a lock; undefined where nothing is, or it is of another lock. */
export async function readOrigin(folder: string, lock: Lock): Promise<LockOrigin | undefined> {
  const text = await readFile(join(folder, originFile), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
  if (text === undefined) return undefined;
  try {
    const origin = JSON.parse(text) as LockOrigin;
    return origin.version === 1 && origin.roots === rootsDigest(lock) ? origin : undefined;
  } catch {
    // It can be written again at any time, and nothing but warnings depends on it.
    return undefined;
  }
}

/** Whether all that the manifest includes was read. */
export function isWhole({ findings }: Environment): boolean {
  return !findings.some(({ code }) => code === 'remote-include' || code === 'include-in-spack');
}

/** Roots carry the hashes of everything below them. */
function rootsDigest({ roots }: Lock): string {
  const lines = roots.map(({ group, spec, hash }) => `${group}\t${spec}\t${hash}\n`).sort();
  return createHash('sha256').update(lines.join('')).digest('hex');
}
