import { existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { loadEnvironment, parseSpec } from '@stackwright/spack-env';
import { execa } from 'execa';
import type { Caller } from '../caller.js';
import { carryManifest } from '../carried.js';
import { StackError } from '../error.js';
import { childEnvironment, withheldFrom, withoutSecrets } from '../secrets.js';
import { newStack, stackName } from './files.js';

export interface InitOptions {
  /** The stack's name; made from the folder's when left out. */
  readonly name?: string;
  /** Specs to build; `zlib-ng` when there are none. */
  readonly specs: readonly string[];
  /** URL of the build cache; a folder in the user's home when left out. */
  readonly mirror?: string;
  /** Base of the image. */
  readonly base: string;
  /**
   * A stack to adopt: a folder relative to where the caller is, or a URL that git can clone, with `#FOLDER` for a stack
   * that is not at the root of the repository.
   */
  readonly from?: string;
}

/** Whether `init` would adopt a stack that is there instead of writing a new one. */
export function isAdopted({ cwd }: Pick<Caller, 'cwd'>, folder: string, from?: string): boolean {
  return from !== undefined || existsSync(join(resolve(cwd, folder), 'spack.yaml'));
}

/**
 * Writes the files of a stack repository. In a folder with a `spack.yaml`, and for a stack that is adopted, only those
 * that are absent are written; nothing is ever replaced.
 * @returns the folder, absolute, and the files that were written, relative to it
 * @throws StackError for a new stack where a file of it is there already: nothing is written then
 */
export async function initStack(
  caller: Caller,
  argument: string,
  options: InitOptions,
): Promise<{ readonly folder: string; readonly files: readonly string[] }> {
  const folder = resolve(caller.cwd, argument);
  const name = options.name ?? stackName(basename(folder));
  if (name !== stackName(name)) {
    throw new StackError('bad-value', `"${name}" is no name for a stack.`, {
      hint: 'Letters, digits, dots, dashes and underscores make one: --name NAME.',
    });
  }
  for (const spec of options.specs) parseSpec(spec);
  const adopted = isAdopted(caller, argument, options.from);
  const brought = options.from === undefined ? [] : await adopt(caller, options.from, folder);
  const specs = options.specs.length > 0 ? options.specs : ['zlib-ng'];
  const files = Object.entries(newStack({ name, specs, base: options.base, mirror: options.mirror }));
  const there = files.filter(([path]) => existsSync(join(folder, path)));
  if (there.length > 0 && !adopted) {
    throw new StackError('exists', `${argument} has ${there.map(([path]) => path).join(', ')} already.`, {
      hint: 'Nothing was written. Choose an empty folder, or move these files away.',
    });
  }
  const written = files.filter((file) => !there.includes(file));
  for (const [path, { text, mode = 0o644 }] of written) {
    const file = join(folder, path);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, text, { flag: 'wx', mode });
  }
  return { folder, files: [...brought, ...written.map(([path]) => path)] };
}

/** What a working copy holds besides the stack itself. */
const notTheStack = new Set(['.git', '.spack-env', '.stackwright', 'jobs_scratch_dir']);

/**
 * Copies a stack into a folder; files that are there stay. Nothing is copied where it lies there already.
 * @returns what was brought from outside of the stack's folder, relative to the new one
 */
async function adopt(caller: Caller, from: string, folder: string): Promise<readonly string[]> {
  const remote = /^[a-z][a-z0-9+.-]*:\/\/|^[^/]+@[^/]+:/i.test(from);
  const [url = from, inside = ''] = remote ? from.split('#', 2) : [];
  const clone = remote ? await mkdtemp(join(tmpdir(), 'stackwright-init-')) : undefined;
  try {
    if (clone) await cloneInto(caller, url, clone);
    const source = clone ? join(clone, inside) : resolve(caller.cwd, from);
    if (!(await stat(join(source, 'spack.yaml')).catch(() => undefined))) {
      throw new StackError('not-a-stack', `${from} is not a stack: it has no spack.yaml.`, {
        hint: remote
          ? 'Name the folder in the repository that holds it: URL#FOLDER.'
          : 'Name the folder that holds it.',
      });
    }
    if (source === folder) return [];
    const isNew = !existsSync(join(folder, 'spack.yaml'));
    await cp(source, folder, {
      recursive: true,
      force: false,
      verbatimSymlinks: true,
      filter: (path) => !notTheStack.has(basename(path)),
    });
    if (!isNew) return [];
    const { env, signal } = caller;
    const { variables } = await loadEnvironment(source, { env, signal, withheld: withheldFrom(env) });
    return await carryManifest(source, folder, variables);
  } finally {
    if (clone) await rm(clone, { recursive: true, force: true });
  }
}

async function cloneInto({ env, signal }: Caller, url: string, folder: string): Promise<void> {
  const git = await execa('git', ['clone', '--quiet', '--depth=1', '--', url, folder], {
    reject: false,
    env: { ...childEnvironment(env), GIT_TERMINAL_PROMPT: '0' },
    extendEnv: false,
    cancelSignal: signal,
  });
  signal.throwIfAborted();
  if (!git.failed) return;
  const why = withoutSecrets(git.stderr?.trim() || git.shortMessage || 'git failed', []);
  throw new StackError('program', `git could not clone ${withoutSecrets(url, [])}: ${why}`);
}
