import { createHash } from 'node:crypto';
import { lstat, mkdir, readdir, readFile, readlink, rename, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Environment, Lock } from '@stackwright/spack-env';
import { execa } from 'execa';
import pLimit from 'p-limit';
import { parse } from 'yaml';
import { cacheFolder } from '../cache-folder.js';
import { repositoriesOf } from '../configuration.js';
import { childEnvironment } from '../secrets.js';

/** A repository of recipes on this machine. */
export interface Repository {
  readonly namespace: string;
  /** Absolute; holds `repo.yaml`. */
  readonly folder: string;
  /** Where the recipes' folders lie, absolute. */
  readonly packages: string;
}

/**
 * Finds the repositories of a lock's recipes: those of the stack, then those that the last `concretize` on this machine
 * used, then those that Spack keeps in its usual folders. Spack is not started.
 * @returns by namespace; one that is nowhere on this machine is not in it
 */
export async function findRepositories(
  environment: Environment,
  lock: Lock,
  env: NodeJS.ProcessEnv,
): Promise<Map<string, Repository>> {
  const wanted = new Set(built(lock).map(({ namespace }) => namespace));
  const found = new Map<string, Repository>();
  const look = async (folders: readonly string[]) => {
    for (const folder of folders) {
      const repository = await readRepository(folder);
      if (!repository || !wanted.has(repository.namespace)) continue;
      if (!found.has(repository.namespace)) found.set(repository.namespace, repository);
    }
  };
  await look(repositoriesOf(environment));
  if (found.size < wanted.size) await look(await rememberedRepositories(env));
  if (found.size < wanted.size) await look(await usualFolders([...wanted], env));
  return found;
}

/** The folders that Spack names in `spack repo list`. */
export function listedRepositories(output: string): string[] {
  return output.split('\n').flatMap((line) => /\s(\/\S.*)$/.exec(line)?.[1]?.trim() ?? []);
}

/** Remembers for this machine where the repositories of a concretization lie: the lock says only their namespaces. */
export async function rememberRepositories(
  folders: readonly string[],
  env: NodeJS.ProcessEnv,
): Promise<void> {
  const file = memory(env);
  await mkdir(dirname(file), { recursive: true });
  const all = [...new Set([...folders, ...(await rememberedRepositories(env))])].slice(0, mostRemembered);
  const temporary = `${file}.${process.pid}.tmp`;
  await writeFile(temporary, `${JSON.stringify(all, null, 2)}\n`);
  await rename(temporary, file);
}

const mostRemembered = 50;

function memory(env: NodeJS.ProcessEnv): string {
  return join(cacheFolder(env), 'repositories.json');
}

async function rememberedRepositories(env: NodeJS.ProcessEnv): Promise<string[]> {
  try {
    const read: unknown = JSON.parse(await readFile(memory(env), 'utf8'));
    return Array.isArray(read) ? read.filter((one) => typeof one === 'string') : [];
  } catch {
    // A cache that is not there, or broken, remembers nothing.
    return [];
  }
}

async function usualFolders(namespaces: readonly string[], env: NodeJS.ProcessEnv): Promise<string[]> {
  const clones = join(env.SPACK_USER_CACHE_PATH || join(env.HOME || homedir(), '.spack'), 'package_repos');
  const names = await readdir(clones).catch(() => []);
  const parents = [
    ...names.map((name) => join(clones, name, 'repos', 'spack_repo')),
    ...(env.SPACK_ROOT
      ? ['spack_repo', ''].map((part) => join(env.SPACK_ROOT as string, 'var', 'spack', 'repos', part))
      : []),
  ];
  return parents.flatMap((parent) => namespaces.map((namespace) => join(parent, namespace)));
}

async function readRepository(folder: string): Promise<Repository | undefined> {
  const text = await readFile(join(folder, 'repo.yaml'), 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  try {
    const { repo } = parse(text) as { repo?: { namespace?: unknown; subdirectory?: unknown } };
    const { namespace, subdirectory = 'packages' } = repo ?? {};
    if (typeof namespace !== 'string' || typeof subdirectory !== 'string') return undefined;
    return { namespace, folder, packages: join(folder, subdirectory) };
  } catch {
    return undefined;
  }
}

/** The commit that a repository's checkout stands at; undefined where it is in none. */
export async function commitOf(
  { folder }: Repository,
  env: NodeJS.ProcessEnv,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { stdout, failed } = await execa('git', ['-C', folder, 'rev-parse', 'HEAD'], {
    reject: false,
    env: childEnvironment(env),
    extendEnv: false,
    cancelSignal: signal,
  });
  signal.throwIfAborted();
  return failed ? undefined : stdout.trim();
}

/**
 * The hashes of the recipes that a lock's packages were built by, by namespace and package name, in that order.
 * @param repositories what is looked into; what they lack has no hash
 */
export async function hashRecipes(
  lock: Lock,
  repositories: ReadonlyMap<string, Repository>,
): Promise<Map<string, Map<string, string>>> {
  const limit = pLimit(16);
  const wanted = [...new Set(built(lock).map(({ namespace, name }) => `${namespace}/${name}`))].sort();
  const hashes = await Promise.all(
    wanted.map((one) =>
      limit(async () => {
        const [namespace = '', name = ''] = one.split('/');
        const repository = repositories.get(namespace);
        return { namespace, name, hash: repository && (await recipeHash(repository, name)) };
      }),
    ),
  );
  const recipes = new Map<string, Map<string, string>>();
  for (const { namespace, name, hash } of hashes) {
    if (hash === undefined) continue;
    const known = recipes.get(namespace);
    if (known) known.set(name, hash);
    else recipes.set(namespace, new Map([[name, hash]]));
  }
  return recipes;
}

/** What Spack builds of a lock; externals need no recipe. */
function built({ nodes }: Lock): { namespace: string; name: string }[] {
  return [...nodes.values()].flatMap(({ external, namespace, name }) =>
    external || namespace === undefined ? [] : [{ namespace, name }],
  );
}

async function recipeHash({ packages }: Repository, name: string): Promise<string | undefined> {
  // Since version 2.0 of repositories a recipe's folder is a Python module: `py_numpy`, `_7zip`.
  const module = name.replaceAll('-', '_');
  for (const folder of [module, `_${module}`, name]) {
    const hash = await treeHash(join(packages, folder));
    if (hash !== undefined) return hash;
  }
  return undefined;
}

/**
 * The hash that git gives the tree of a folder (`git rev-parse HEAD:PATH` where nothing is uncommitted), computed from
 * its files, so that folders outside of a checkout and uncommitted edits have one, too. What Python leaves does not count.
 * @returns undefined where there is no such folder, or no file in it, which git does not know either
 */
export async function treeHash(folder: string): Promise<string | undefined> {
  const entries = await readdir(folder, { withFileTypes: true }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT' && error.code !== 'ENOTDIR') throw error;
  });
  const rows: { readonly sortedAs: string; readonly mode: string; readonly name: string; hash: string }[] =
    [];
  for (const entry of entries ?? []) {
    const { name } = entry;
    const path = join(folder, name);
    if (name === '__pycache__' || name.endsWith('.pyc')) continue;
    if (entry.isDirectory()) {
      const hash = await treeHash(path);
      if (hash !== undefined) rows.push({ sortedAs: `${name}/`, mode: '40000', name, hash });
    } else if (entry.isSymbolicLink()) {
      rows.push({ sortedAs: name, mode: '120000', name, hash: blobHash(Buffer.from(await readlink(path))) });
    } else if (entry.isFile()) {
      const executable = ((await lstat(path)).mode & 0o100) !== 0;
      const hash = blobHash(await readFile(path));
      rows.push({ sortedAs: name, mode: executable ? '100755' : '100644', name, hash });
    }
  }
  if (rows.length === 0) return undefined;
  rows.sort((a, b) => Buffer.compare(Buffer.from(a.sortedAs), Buffer.from(b.sortedAs)));
  const parts = rows.map(({ mode, name, hash }) =>
    Buffer.concat([Buffer.from(`${mode} ${name}\0`), Buffer.from(hash, 'hex')]),
  );
  return objectHash('tree', Buffer.concat(parts));
}

function blobHash(bytes: Uint8Array): string {
  return objectHash('blob', bytes);
}

function objectHash(kind: string, bytes: Uint8Array): string {
  return createHash('sha1').update(`${kind} ${bytes.length}\0`).update(bytes).digest('hex');
}
