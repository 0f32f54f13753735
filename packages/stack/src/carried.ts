import { copyFile, cp, mkdir, readdir, realpath, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, extname, join, relative, resolve, sep } from 'node:path';
import { type ManifestPath, pathsOf, withPaths } from '@stackwright/job-graph';
import {
  readPlainFile,
  readStackSettings,
  resolvePath,
  type StackSettings,
  type VariableFacts,
} from '@stackwright/spack-env';
import { stringify } from 'yaml';
import type { Caller } from './caller.js';
import { isPullRequest } from './credentials.js';
import { StackError } from './error.js';
import type { Stack } from './stack.js';

/**
 * Writes a copy of a stack that needs nothing else of this machine: its manifest and lock, the recipes, included
 * configuration and other environments that it names by path, and the public keys of its trust. What lies in the stack's
 * folder keeps its place, everything else comes into `carried/`, and all paths lead there. Mirrors stay where they are.
 * @param to the folder of the copy; it may be moved afterwards
 */
export async function writeCarriedStack(caller: Caller, stack: Stack, to: string): Promise<void> {
  const { variables } = await stack.environment();
  const carrier = new Carrier(
    stack.folder,
    to,
    variables,
    isPullRequest(caller.env) ? caller.env.CI_PROJECT_DIR || stack.folder : undefined,
  );
  const manifest = join(stack.folder, 'spack.yaml');
  await carrier.configuration(manifest, join(to, 'spack.yaml'));
  await copyFile(join(stack.folder, 'spack.lock'), join(to, 'spack.lock'));
  for (const mirror of carrier.mirrors) {
    caller.note(`Warning: the mirror ${mirror} is a folder of this machine. Jobs need it at the same path.`);
  }
  const { trust, ...others } = await readStackSettings(stack.folder);
  const keys: string[] = [];
  for (const file of trust) {
    const source = resolve(stack.folder, file);
    await carrier.refuseOutside(source);
    const target = carrier.place(source);
    await mkdir(dirname(target), { recursive: true });
    await copyFile(source, target);
    keys.push(relative(to, target));
  }
  const text = settingsText(keys, others);
  if (text) await writeFile(join(to, 'stackwright.yaml'), text);
}

/**
 * Writes the manifest of a stack for another folder, and brings along what it names by path outside of its own:
 * recipes, included configuration, other environments. What lies in the stack's folder is not copied.
 * @returns what was brought, relative to the new folder
 */
export async function carryManifest(
  from: string,
  to: string,
  variables: VariableFacts,
): Promise<readonly string[]> {
  const carrier = new Carrier(from, to, variables, undefined, true);
  await carrier.configuration(join(from, 'spack.yaml'), join(to, 'spack.yaml'));
  return carrier.brought();
}

/** `stackwright.yaml` with other paths of keys; undefined where it would say nothing. */
export function settingsText(
  trust: readonly string[],
  others: Omit<StackSettings, 'trust'>,
): string | undefined {
  const said = Object.entries({ trust, ...others }).filter(([, value]) => Object.keys(value).length > 0);
  return said.length > 0 ? stringify(Object.fromEntries(said)) : undefined;
}

/** What a working copy of recipes holds besides the recipes. */
const leftBehind = new Set(['.git', '__pycache__', '.spack-env', '.stackwright']);

class Carrier {
  /** Local mirrors that were seen, absolute. */
  readonly mirrors = new Set<string>();
  readonly #places = new Map<string, string>();
  readonly #done = new Set<string>();

  constructor(
    private readonly from: string,
    private readonly to: string,
    private readonly variables: VariableFacts,
    private readonly checkout: string | undefined,
    /** Whether a mirror in the stack's folder comes along. */
    private readonly withMirrors = false,
  ) {}

  /**
   * In a pull request, whoever wrote the stack must not have any file of this machine published.
   * @throws StackError for what is outside of the checkout
   */
  async refuseOutside(source: string): Promise<void> {
    if (this.checkout === undefined) return;
    const [path, checkout] = await Promise.all(
      [source, this.checkout].map((one) => realpath(one).catch(() => one)),
    );
    if (path === checkout || isInside(path as string, checkout as string)) return;
    throw new StackError(
      'bad-value',
      `${source} is outside of the checkout, and is not published for a pull request.`,
      {
        hint: 'Move it into the repository, or generate this pipeline on a branch.',
      },
    );
  }

  /** What lies outside of the stack's folder and was copied, relative to the copy. */
  brought(): readonly string[] {
    return [...this.#places.values()].map((place) => relative(this.to, place));
  }

  /** Where a file or folder goes. */
  place(source: string): string {
    if (isInside(source, this.from)) return join(this.to, relative(this.from, source));
    // What lies in a folder that was copied came with it.
    for (const [folder, copy] of this.#places)
      if (isInside(source, folder)) return join(copy, relative(folder, source));
    let place = this.#places.get(source);
    if (!place) {
      place = join(this.to, 'carried', String(this.#places.size + 1), nameOf(source));
      this.#places.set(source, place);
    }
    return place;
  }

  /** Copies a manifest or a file of configuration with all that it names. */
  async configuration(source: string, target: string): Promise<void> {
    if (this.#done.has(target)) return;
    this.#done.add(target);
    await this.refuseOutside(source);
    const text = await readPlainFile(source);
    const moved = new Map<string, string>();
    for (const one of pathsOf(text, source)) {
      const path = await this.#carry(one, source, target);
      if (path !== undefined) moved.set(one.path, path);
    }
    await mkdir(dirname(target), { recursive: true });
    await writeFile(
      target,
      withPaths(text, source, ({ path }) => moved.get(path) ?? path),
    );
  }

  /** Copies what a path leads to. @returns the path from the copy; undefined where it stays as it is */
  async #carry({ section, path }: ManifestPath, file: string, copy: string): Promise<string | undefined> {
    // Jobs have a Spack of their own.
    if (/^\$\{?spack\b/i.test(path)) return undefined;
    const source = resolvePath(path, dirname(file), this.variables);
    if (/\$|^[a-z][a-z0-9+.-]*:/i.test(source)) return undefined;
    if (section === 'mirrors') {
      if (this.withMirrors && isInside(source, this.from)) return undefined;
      this.mirrors.add(source);
      return source;
    }
    const found = await stat(source).catch(() => undefined);
    if (!found) return undefined;
    await this.refuseOutside(source);
    const target = this.place(source);
    if (section === 'include_concrete') await this.#environment(source, target);
    else if (!found.isDirectory()) await this.#file(source, target);
    else {
      await copyFolder(source, target);
      if (section === 'include') await this.#scope(source, target);
    }
    const moved = relative(dirname(copy), target);
    // A path that is the same from the copy is left as it is written.
    return resolve(dirname(copy), path) === target && !path.startsWith('$') ? undefined : dotted(moved);
  }

  async #file(source: string, target: string): Promise<void> {
    if (basename(source) !== 'spack.lock') return this.configuration(source, target);
    await mkdir(dirname(target), { recursive: true });
    await copyFile(source, target);
  }

  /** A folder with a file for each section of the configuration. */
  async #scope(source: string, target: string): Promise<void> {
    for (const name of await readdir(source)) {
      if (extname(name) === '.yaml') await this.configuration(join(source, name), join(target, name));
    }
  }

  async #environment(source: string, target: string): Promise<void> {
    await mkdir(target, { recursive: true });
    for (const name of ['spack.yaml', 'spack.lock']) await copyFile(join(source, name), join(target, name));
  }
}

/** The name of a copy. A recipe's namespace is in the folders from `spack_repo` on. */
function nameOf(source: string): string {
  const parts = source.split(sep);
  const repository = parts.lastIndexOf('spack_repo');
  return repository > 0 ? join(...parts.slice(repository)) : basename(source);
}

async function copyFolder(source: string, target: string): Promise<void> {
  await cp(source, target, {
    recursive: true,
    verbatimSymlinks: true,
    filter: (path) => path === source || !leftBehind.has(basename(path)),
  });
}

function isInside(path: string, folder: string): boolean {
  return path.startsWith(`${folder}${sep}`);
}

function dotted(path: string): string {
  return path.startsWith('.') ? path : `./${path}`;
}
