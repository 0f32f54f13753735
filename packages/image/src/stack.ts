import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import {
  type Mirror,
  openMirror,
  readKeyFiles,
  type SignaturePolicy,
  trustOf,
} from '@stackwright/buildcache';
import {
  connectionOptions,
  type Lock,
  loadEnvironment,
  parseLock,
  readStackSettings,
  SpackEnvError,
} from '@stackwright/spack-env';
import { type AssembledImage, assembleImage, type ImageSettings } from './assemble.js';
import { openBase } from './base.js';
import { searchOrder } from './closure.js';
import { ImageError } from './error.js';
import { packagesOf } from './from-mirror.js';
import { assembleMirrorImage } from './mirror-image.js';
import { Staging } from './staging.js';

export interface StackImageOptions {
  /** What relative paths of these options are relative to. */
  readonly cwd: string;
  /** Where credentials and proxies come from. */
  readonly env: NodeJS.ProcessEnv;
  /** The mirror to take binaries from; the stack's own (`buildcache-destination`, else its first) when left out. */
  readonly mirror?: string;
  /** Files of public keys whose signatures count, besides those that the stack names. */
  readonly trust?: readonly string[];
  /** Do not look at signatures. */
  readonly unsigned?: boolean;
  readonly base?: string;
  /** `software`: the packages, installed; `mirror`: a mirror of all of the lock's packages, to install from. */
  readonly kind?: 'software' | 'mirror';
  /** Absolute folder of the mirror in an image of that kind; `/mirror` when left out. */
  readonly mirrorRoot?: string;
  readonly installRoot?: string;
  /** Over what `stackwright.yaml` says. */
  readonly settings?: ImageSettings;
  /** The folder that remembers checked blobs. */
  readonly staging: string;
  readonly signal?: AbortSignal;
  readonly onLayer?: (ready: number, all: number) => void;
}

/**
 * Assembles the image of a stack's folder: `spack.lock` says what is in it, the mirror has the binaries, and
 * `stackwright.yaml` says whose signatures count, what lies below and what the image runs.
 * @throws ImageError, BuildcacheError, OciError, SpackEnvError, StorageError; nothing is written but into `staging`
 */
export async function stackImage(folder: string, options: StackImageOptions): Promise<AssembledImage> {
  const { cwd, env, signal } = options;
  const { image: own, trust } = await readStackSettings(folder);
  const lock = await readLock(folder);
  const keys = [
    ...trust.map((file) => resolve(folder, file)),
    ...(options.trust ?? []).map((file) => resolve(cwd, file)),
  ];
  const policy: SignaturePolicy = options.unsigned
    ? { kind: 'unsigned' }
    : { kind: 'trusted', trust: await trustOf({ keys: await readKeyFiles(keys) }) };
  const mirror = await openStackMirror(folder, policy, options);
  const base = options.base
    ? await openBase(options.base, { cwd, env, signal })
    : await openBase(own.base ?? 'scratch', { cwd: folder, env, signal });
  const shared = {
    base,
    settings: { ...own, ...options.settings, labels: { ...own.labels, ...options.settings?.labels } },
    staging: await Staging.open(options.staging),
    signal,
  };
  if ((options.kind ?? own.kind) === 'mirror') {
    const nodes = [...lock.nodes.values()].filter((node) => !node.external);
    const root = options.mirrorRoot ?? own.mirrorRoot ?? '/mirror';
    if (!/^(?:\/[\w.+-]+)+$/.test(root) || root.includes('/..'))
      throw new ImageError('name', `"${root}" is no folder for a mirror.`, {
        hint: 'Give an absolute path: /mirror.',
      });
    return assembleMirrorImage({ ...shared, mirror, nodes, root, onLayer: options.onLayer });
  }
  const packages = await packagesOf(mirror, lock, { signal });
  let ready = 0;
  return assembleImage({
    ...shared,
    packages,
    searched: searchOrder(lock),
    installRoot: options.installRoot ?? own.installRoot,
    onLayer: () => options.onLayer?.((ready += 1), packages.length),
  });
}

async function openStackMirror(
  folder: string,
  policy: SignaturePolicy,
  { mirror, cwd, env, signal }: StackImageOptions,
): Promise<Mirror> {
  if (mirror !== undefined) return openMirror(mirror, { env, cwd, policy, signal });
  const environment = await loadEnvironment(folder, { env, signal });
  const errors = environment.findings.filter(({ severity }) => severity === 'error');
  if (errors.length > 0) throw new SpackEnvError(errors);
  const binary = environment.mirrors.filter((one) => one.binary);
  const own = binary.find(({ name }) => name === 'buildcache-destination') ?? binary[0];
  if (!own)
    throw new ImageError('no-mirror', `${environment.file} names no mirror for binaries.`, {
      hint: 'Name one with --mirror URL.',
    });
  return openMirror(own.fetch.url, {
    ...connectionOptions(own.fetch, env),
    policy,
    signal,
  });
}

async function readLock(folder: string): Promise<Lock> {
  const file = join(folder, 'spack.lock');
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
    throw new ImageError('not-concretized', `${file}: no such file: the stack is not concretized.`, {
      hint: `Run: stackwright concretize ${folder}`,
    });
  });
  return parseLock(text, file);
}
