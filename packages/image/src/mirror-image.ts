import { createReadStream } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import {
  copyKeys,
  describe,
  hasCode,
  type MirrorReader,
  openV3Mirror,
  type PackageManifest,
  type TarItem,
  tarBytes,
  type V3Mirror,
  v3,
} from '@stackwright/buildcache';
import type { ConcreteNode } from '@stackwright/spack-env';
import { type AssembledImage, type AssembleOptions, imageOf, stageBase } from './assemble.js';
import { checkPlatform, platformOf } from './base.js';
import { ImageError } from './error.js';
import { ownLayer } from './files.js';
import { keyOf, type LayerFile } from './layer.js';
import { groupSmallest } from './merge.js';
import { foldersAbove } from './sbang.js';
import type { Staging } from './staging.js';

export interface MirrorImageOptions
  extends Pick<AssembleOptions, 'base' | 'settings' | 'own' | 'staging' | 'mostLayers' | 'signal'> {
  /** Each is taken from its mirror, and verified by the policy there. */
  readonly packages: readonly { readonly node: ConcreteNode; readonly mirror: MirrorReader }[];
  /** Absolute folder that the mirror lies under in the image. */
  readonly root: string;
  readonly onLayer?: (ready: number, all: number) => void;
}

/** A file of the mirror in the image. */
interface MirrorFile {
  readonly key: string;
  readonly size: number;
}

/**
 * Assembles an image that holds a mirror of these packages, with public keys and an index, for people to install from:
 * a layer for each package, so that the next image shares those that are the same, and one for the index. The keys are
 * in `public.key` beside the mirror's folders, too.
 * @throws ImageError naming every package that the mirror lacks, or the mirror's and registry's own errors
 */
export async function assembleMirrorImage(options: MirrorImageOptions): Promise<AssembledImage> {
  const { packages, base, staging, signal } = options;
  const platform = platformOf(packages.map(({ node }) => node));
  checkPlatform(base, platform);
  const temporary = await mkdtemp(join(staging.folder, 'mirror-'));
  try {
    const copy = await openV3Mirror(temporary, { signal });
    const manifests = await fillMirror(packages, copy, signal);
    const keys = await armoredKeys(copy, signal);
    if (keys !== '') await writeFile(join(temporary, publicKeys), keys);
    const baseLayers = base ? await stageBase(base, staging, signal) : [];
    const room = Math.max((options.mostLayers ?? 120) - baseLayers.length, 3);
    const files = options.own && (await ownLayer(options.own, base, staging, signal));
    const mirror = await mirrorLayers(temporary, copy, manifests, files ? room - 1 : room, options);
    const layers = files ? [...mirror, files] : mirror;
    return {
      ...imageOf({
        base,
        settings: options.settings,
        platform,
        env: base?.image.config.config?.Env ?? [],
        baseLayers,
        layers,
      }),
      packages: [],
      others: files ? [...baseLayers, files] : baseLayers,
      conflicts: [],
      bill: manifests.map(({ node, manifest }) => ({
        node,
        digest: manifest.tarball.digest,
        spec: manifest.spec.digest,
      })),
    };
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

/** Beside the mirror's own files, for `spack gpg trust`: the public keys of the mirror, armored. */
const publicKeys = 'public.key';

async function armoredKeys(mirror: MirrorReader, signal: AbortSignal | undefined): Promise<string> {
  const keys = await mirror.publishedKeys(signal);
  return keys.map((key) => key.armor().replaceAll('\r\n', '\n')).join('');
}

interface Copied {
  readonly node: ConcreteNode;
  readonly manifest: PackageManifest;
}

/** Copies the packages into a new mirror, with keys and index. Returns their manifests there, by name. */
async function fillMirror(
  packages: MirrorImageOptions['packages'],
  to: V3Mirror,
  signal: AbortSignal | undefined,
): Promise<Copied[]> {
  for (const from of new Set(packages.map(({ mirror }) => mirror))) {
    const nodes = packages.filter(({ mirror }) => mirror === from).map(({ node }) => node);
    await copyInto(from, to, nodes, signal);
    await copyKeys(from, to, signal);
  }
  // One after the other, so that the index of the same packages is always the same.
  await to.updateIndex({ parallel: 1, signal });
  const sorted = packages.map(({ node }) => node).sort((a, b) => (describe(a) < describe(b) ? -1 : 1));
  return Promise.all(
    sorted.map(async (node) => ({ node, manifest: (await to.package(node, signal)).manifest })),
  );
}

async function copyInto(
  from: MirrorReader,
  to: V3Mirror,
  nodes: readonly ConcreteNode[],
  signal: AbortSignal | undefined,
): Promise<void> {
  const { failed } = await to.copyFrom(from, nodes, { signal });
  const missing = failed.filter(({ error }) => hasCode(error, 'missing-package'));
  const other = failed.find(({ error }) => !hasCode(error, 'missing-package'));
  if (other) throw other.error;
  if (missing.length > 0) {
    throw new ImageError(
      'missing-packages',
      `${from.url} lacks ${missing.length} of the stack's ${nodes.length} packages: ${missing.map((one) => describe(one.package)).join(', ')}.`,
      { hint: 'Build and push them first: stackwright run STACK --mirror URL' },
    );
  }
}

async function mirrorLayers(
  folder: string,
  copy: V3Mirror,
  packages: readonly Copied[],
  room: number,
  { root, staging, signal, onLayer }: MirrorImageOptions,
): Promise<LayerFile[]> {
  const files = new Map<string, MirrorFile>();
  for await (const { key, size = 0 } of copy.store.list('', { signal })) files.set(key, { key, size });
  const take = (keys: readonly string[]) =>
    keys.flatMap((key) => {
      const file = files.get(key);
      files.delete(key);
      return file ? [file] : [];
    });
  const parts = packages.map(({ node, manifest }) => ({
    title: `${node.name}@${node.version}/${node.hash}`,
    files: take([v3.blob(manifest.tarball.digest), v3.blob(manifest.spec.digest), v3.spec(node)]),
  }));
  const sizes = parts.map((part) => part.files.reduce((sum, file) => sum + file.size, 0));
  const groups = groupSmallest(sizes, room - 1);
  const layers: LayerFile[] = [];
  const add = async (title: string, content: readonly MirrorFile[]) => {
    layers.push(await mirrorLayer(folder, root, content, title, staging, signal));
    onLayer?.(layers.length, groups.length + 1);
  };
  let start = 0;
  for (const length of groups) {
    const group = parts.slice(start, (start += length));
    await add(
      group.map((part) => part.title).join(' '),
      group.flatMap((part) => part.files),
    );
  }
  await add('index of the mirror', take([...files.keys()].sort()));
  return layers;
}

/** A layer of files of a mirror. Blobs are named by their content, so only the others have to be read to name it. */
async function mirrorLayer(
  folder: string,
  root: string,
  files: readonly MirrorFile[],
  title: string,
  staging: Staging,
  signal: AbortSignal | undefined,
): Promise<LayerFile> {
  const contents = await Promise.all(
    files.map(async ({ key }) => {
      if (key.startsWith('blobs/')) return key;
      return `${key} ${await readFile(join(folder, key), { encoding: 'utf8', signal })}`;
    }),
  );
  return staging.pack(
    keyOf('mirror', root, ...contents),
    () => Readable.from(tarBytes(filesUnder(folder, root, files, signal)), { objectMode: false }),
    `stackwright: ${title}`,
    { plain: true, signal },
  );
}

/** Files of a folder under another root, with the folders above them; the same for the same files. */
function* filesUnder(
  folder: string,
  root: string,
  files: readonly MirrorFile[],
  signal: AbortSignal | undefined,
): Generator<TarItem> {
  const names = [...files].sort((a, b) => (a.key < b.key ? -1 : 1));
  yield* foldersAbove(names.map(({ key }) => join(root, key)));
  for (const { key, size } of names) {
    yield {
      entry: { name: join(root, key).slice(1), type: 'file', mode: 0o644, size },
      content: createReadStream(join(folder, key), { signal }),
    };
  }
}
