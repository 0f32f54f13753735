import { copyFile, mkdir, readdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { dirname, isAbsolute, join, relative, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import {
  type AnyMirror,
  describe,
  folderOf,
  hasCode,
  type PackageManifest,
  readKeyFiles,
  type SignaturePolicy,
  type Signer,
  trustOf,
} from '@stackwright/buildcache';
import { packageBlob, type Staging } from '@stackwright/image';
import type { JobGraph } from '@stackwright/job-graph';
import type { ConcreteNode } from '@stackwright/spack-env';
import pLimit from 'p-limit';
import type { Context } from '../context.js';
import { RunnerError } from '../exit.js';
import type { Stack } from '../stack.js';
import type { WorkFolder } from './work.js';

/**
 * The address of the mirror that a run reads and writes: the one given, else the stack's own. A mirror that lies in the
 * stack's folder came with it and stays as it is: the run gets a copy of its own.
 * @param configured the stack's mirror to push to: a URL, or a path relative to the stack
 * @returns with `reseeded`: the copy got something new, so that its index is behind
 */
export async function runMirrorUrl(
  context: Context,
  stack: Stack,
  work: WorkFolder,
  options: { readonly given: string | undefined; readonly configured: string | undefined },
): Promise<{ readonly url: string; readonly reseeded: boolean }> {
  const plain = (url: string) => ({ url, reseeded: false });
  if (options.given !== undefined) return plain(absolute(options.given, context.cwd));
  if (options.configured === undefined) return plain(pathToFileURL(work.mirror).href);
  const url = absolute(options.configured, stack.folder);
  if (!url.startsWith('file:')) return plain(url);
  const folder = fileURLToPath(url);
  const inside = relative(stack.folder, folder);
  if (inside.startsWith('..') || isAbsolute(inside)) return plain(url);
  const reseeded = await seed(folder, work.mirror);
  return { url: pathToFileURL(work.mirror).href, reseeded };
}

function absolute(url: string, base: string): string {
  return /^[a-z][a-z0-9+.-]*:\/\//i.test(url) ? url : pathToFileURL(resolve(base, url)).href;
}

/**
 * Brings what a stack's own mirror holds into a run's copy of it: all of it the first time, later what has changed there
 * since. What the run has built stays; so does its index, which is brought up to date instead of being replaced.
 * @returns whether the copy was there before and something in it changed
 */
async function seed(from: string, to: string): Promise<boolean> {
  const source = await filesOf(from);
  if (source.size === 0) return false;
  const record = `${to}.seed.json`;
  const there = await stat(to).catch(() => undefined);
  const before: Record<string, string> | undefined =
    there && (await readFile(record, 'utf8').then(JSON.parse, () => undefined));
  const changed = [...source].filter(([name, mark]) => before?.[name] !== mark).map(([name]) => name);
  // Blobs before the manifests that name them: a copy that is cut off leaves a whole mirror.
  const rank = (name: string) => (name.startsWith('blobs/') ? 0 : 1);
  changed.sort((a, b) => rank(a) - rank(b));
  for (const name of changed) {
    if (before && name.startsWith('v3/manifests/index/')) continue;
    const target = join(to, name);
    await mkdir(dirname(target), { recursive: true });
    await copyFile(join(from, name), `${target}.part`);
    await rename(`${target}.part`, target);
  }
  await writeFile(record, JSON.stringify(Object.fromEntries(source)));
  return before !== undefined && changed.length > 0;
}

/** Every file below a folder with a mark that changes when it does; empty where there is no folder. */
async function filesOf(folder: string): Promise<Map<string, string>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  const files = entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)));
  const marks = await Promise.all(
    files.map(async (name) => {
      const { size, mtimeMs } = await stat(join(folder, name));
      return [name, `${size} ${mtimeMs}`] as const;
    }),
  );
  return new Map(marks);
}

/** Whose signatures count in a run. @param signer the run's own key, which counts too */
export async function runPolicy(
  context: Context,
  stack: Stack,
  options: {
    readonly trust: readonly string[];
    readonly unsigned: boolean;
    readonly signer: Signer | undefined;
  },
): Promise<{ policy: SignaturePolicy; files: string[] }> {
  if (options.unsigned) return { policy: { kind: 'unsigned' }, files: [] };
  const files = [
    ...stack.settings.trust.map((file) => resolve(stack.folder, file)),
    ...options.trust.map((file) => resolve(context.cwd, file)),
  ];
  const keys = await readKeyFiles(files);
  if (options.signer) keys.push({ text: await options.signer.publicKey(), from: 'the signing key' });
  const trust = await trustOf({ keys });
  return { policy: { kind: 'trusted', trust }, files };
}

/** What the mirror has of a graph, by hash: manifests whose signatures were checked. */
export type MirrorState = ReadonlyMap<string, PackageManifest>;

/**
 * Looks up every package of the graph and checks the signature of each that is there.
 * @throws BuildcacheError for the first that is there and not as it should be
 */
export async function readMirrorState(
  mirror: AnyMirror,
  graph: JobGraph,
  options: { readonly signal: AbortSignal; readonly onProgress: (done: number, all: number) => void },
): Promise<MirrorState> {
  const limit = pLimit(16);
  const nodes = [...graph.jobs.values()].map((job) => job.node).filter((node) => !node.external);
  const state = new Map<string, PackageManifest>();
  let done = 0;
  const looking = nodes.map((node) =>
    limit(async () => {
      options.signal.throwIfAborted();
      const manifest = await mirror.manifest(node, options.signal).catch((error: unknown) => {
        if (hasCode(error, 'missing-package')) return undefined;
        throw error;
      });
      if (manifest) state.set(node.hash, manifest);
      options.onProgress((done += 1), nodes.length);
    }),
  );
  try {
    await Promise.all(looking);
  } finally {
    limit.clearQueue();
  }
  // In the graph's order, so that what is printed and written does not depend on which answer came first.
  return new Map(
    nodes.flatMap((node) =>
      state.has(node.hash) ? [[node.hash, state.get(node.hash) as PackageManifest]] : [],
    ),
  );
}

/**
 * Reads the binary and the spec of everything that will be relied on, and checks their lengths and checksums. Binaries
 * of a remote mirror that go into no image stay unread: who installs them checks them.
 * @throws the first error, naming the package and the file
 */
export async function verifyBlobs(
  mirror: AnyMirror,
  nodes: readonly ConcreteNode[],
  state: MirrorState,
  options: {
    readonly staging: Staging;
    readonly inImage: ReadonlySet<string>;
    readonly signal: AbortSignal;
    readonly onProgress: (done: number, all: number) => void;
  },
): Promise<void> {
  const local = folderOf(mirror) !== undefined;
  const relied = nodes.flatMap((node) => {
    const manifest = state.get(node.hash);
    return manifest ? [{ node, manifest }] : [];
  });
  const limit = pLimit(4);
  let done = 0;
  const checks = relied.map(({ node, manifest }) =>
    limit(async () => {
      options.signal.throwIfAborted();
      await mirror.spec(manifest, options.signal);
      if (local || options.inImage.has(node.hash)) {
        const blob = packageBlob(mirror, node, manifest);
        if (blob.path && !(await stat(blob.path).catch(() => undefined))) {
          throw new RunnerError(
            'input',
            `${describe(node)}: the mirror lacks the blob ${blob.path}.`,
            'Push the package again.',
          );
        }
        await options.staging.stage(blob, options.signal);
      }
      options.onProgress((done += 1), relied.length);
    }),
  );
  try {
    await Promise.all(checks);
  } finally {
    limit.clearQueue();
  }
}

/** Makes sure that a folder mirror's folder is there. */
export async function ensureFolder(url: string): Promise<void> {
  if (url.startsWith('file:')) await mkdir(fileURLToPath(url), { recursive: true });
}
