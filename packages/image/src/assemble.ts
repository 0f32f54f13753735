import { createReadStream } from 'node:fs';
import type { Readable } from 'node:stream';
import { goArchitecture, searchPaths } from '@stackwright/buildcache';
import {
  type BaseImage,
  composeImage,
  type ImageConfig,
  type ImageDocument,
  ociLayer,
} from '@stackwright/oci';
import type { ConcreteNode } from '@stackwright/spack-env';
import { ImageError } from './error.js';
import { keyOf, type LayerFile, type PackageBlob } from './layer.js';
import { mergeLayers } from './merge.js';
import { type MovedPackage, moveKey, planMove, relocatedTar } from './move.js';
import type { SbomPackage } from './sbom.js';
import type { StagedBlob, Staging } from './staging.js';

/** What a container does when it starts, and what the image says of itself. */
export interface ImageSettings {
  /** The default command; its first word is looked for on the search path. */
  readonly command?: readonly string[];
  readonly entrypoint?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly labels?: Readonly<Record<string, string>>;
  readonly user?: string;
  readonly workdir?: string;
  /** RFC 3339; the start of 1970 by default, so that the same input gives the same image. */
  readonly created?: string;
}

export interface AssembleOptions {
  /** Packages in the order of their layers, lowest first. */
  readonly packages: readonly PackageBlob[];
  /** Dag hashes of the packages that the search paths list, first one first (see `searchOrder`); all when left out. */
  readonly searched?: readonly string[];
  /** The image below; nothing (`scratch`) when left out. */
  readonly base?: BaseImage;
  /** Absolute folder that packages lie under in the image; where they were built when left out. */
  readonly installRoot?: string;
  readonly settings?: ImageSettings;
  readonly staging: Staging;
  /** Docker's overlay refuses more than 127 layers; past this number the smallest are put together. 120 by default. */
  readonly mostLayers?: number;
  readonly signal?: AbortSignal;
  /** Called when a package's layer is ready. */
  readonly onLayer?: (layer: PlacedPackage) => void;
}

/** How a package came into the image. */
export interface PlacedPackage {
  readonly package: PackageBlob;
  /** `mirror`: the mirror's blob as it is; `relocated`: changed for another root and packed anew. */
  readonly origin: 'mirror' | 'relocated';
  readonly layer: LayerFile;
  /** Absolute, in the image. */
  readonly prefix: string;
}

/** An image that is ready to be written anywhere: small documents in memory, layers as files. */
export interface AssembledImage {
  readonly manifest: ImageDocument;
  readonly config: ImageDocument;
  /** In the manifest's order, those of the base first. */
  readonly layers: readonly LayerFile[];
  readonly packages: readonly PlacedPackage[];
  readonly bill: readonly SbomPackage[];
}

const epoch = '1970-01-01T00:00:00Z';

/**
 * Assembles an image from packages' blobs: every blob is read once and checked, those whose root is the image's become
 * layers as they are, the others are relocated and packed anew. Nothing is written but into `staging`.
 * @throws ImageError, or the mirror's and registry's own errors
 */
export async function assembleImage(options: AssembleOptions): Promise<AssembledImage> {
  const { packages, staging, signal } = options;
  if (packages.length === 0)
    throw new ImageError('no-packages', 'The stack has no packages to put into an image.');
  const staged = await stageAll(packages, staging, signal);
  const packageLayers = await makeLayers(options, staged);
  const baseLayers = options.base ? await stageBase(options.base, staging, signal) : [];
  const room = (options.mostLayers ?? 120) - baseLayers.length;
  const merged = await mergeLayers(
    packageLayers.map(({ layer }) => layer),
    Math.max(room, 1),
    staging,
    signal,
  );
  return {
    ...imageOf({
      base: options.base,
      settings: options.settings,
      arch: packages[0]?.node.arch,
      env: searchPaths(shownPackages(options, packageLayers, staged), options.base?.image.config.config?.Env),
      baseLayers,
      layers: merged,
    }),
    packages: packageLayers,
    bill: packages.map(({ node, descriptor }) => ({ node, digest: descriptor.digest })),
  };
}

/** The image of these layers on those of a base, as settings want it to start. */
export function imageOf(parts: {
  readonly base: BaseImage | undefined;
  readonly settings: ImageSettings | undefined;
  /** Of the packages, where the base does not tell. */
  readonly arch: ConcreteNode['arch'] | undefined;
  /** Environment, as `NAME=value`. */
  readonly env: readonly string[];
  readonly baseLayers: readonly LayerFile[];
  readonly layers: readonly LayerFile[];
}): Pick<AssembledImage, 'manifest' | 'config' | 'layers'> {
  const { base, settings = {}, arch, baseLayers, layers } = parts;
  const { manifest, config } = composeImage({
    base: base?.image,
    layers,
    platform: { architecture: goArchitecture(arch?.target ?? ''), os: arch?.platform ?? 'linux' },
    config: startOf(base?.image.config.config, settings, parts.env),
    created: settings.created ?? epoch,
  });
  return { manifest, config, layers: [...baseLayers, ...layers] };
}

async function stageAll(
  packages: readonly PackageBlob[],
  staging: Staging,
  signal?: AbortSignal,
): Promise<StagedBlob[]> {
  const staged: StagedBlob[] = new Array(packages.length);
  let next = 0;
  // Two at a time: one waits for the disk or network while the other hashes.
  const worker = async () => {
    for (let index = next++; index < packages.length; index = next++) {
      staged[index] = await staging.stage(packages[index] as PackageBlob, signal);
    }
  };
  await Promise.all([worker(), worker()]);
  return staged;
}

async function makeLayers(options: AssembleOptions, staged: readonly StagedBlob[]): Promise<PlacedPackage[]> {
  const { packages, installRoot, staging, signal } = options;
  const moves = planMove(
    packages.map((blob, index) => ({ blob, staged: staged[index] as StagedBlob })),
    installRoot,
  );
  const layers: PlacedPackage[] = [];
  for (const [index, blob] of packages.entries()) {
    const move = moves[index] as MovedPackage;
    const { facts, path } = staged[index] as StagedBlob;
    const createdBy = `stackwright: ${blob.node.name}@${blob.node.version}/${blob.node.hash}`;
    let layer: LayerFile;
    if (move.stays) {
      layer = {
        descriptor: blob.descriptor,
        diffId: facts.diffId,
        path,
        createdBy,
      };
    } else {
      const key = keyOf('relocated', blob.descriptor.digest, moveKey(move));
      layer = await staging.pack(key, () => relocatedTar(createReadStream(path), move, signal), createdBy, {
        signal,
      });
    }
    const ready: PlacedPackage = {
      package: blob,
      origin: move.stays ? 'mirror' : 'relocated',
      layer,
      prefix: move.prefix,
    };
    layers.push(ready);
    options.onLayer?.(ready);
  }
  return layers;
}

/** A base's layers as files. */
export async function stageBase(
  base: BaseImage,
  staging: Staging,
  signal?: AbortSignal,
): Promise<LayerFile[]> {
  const { image, source } = base;
  const layers: LayerFile[] = [];
  for (const [index, descriptor] of image.manifest.layers.entries()) {
    const diffId = image.config.rootfs.diff_ids[index];
    if (!diffId)
      throw new ImageError('base', `${source.name}: the base image has fewer diff_ids than layers.`);
    const path = await staging.keep(
      descriptor,
      (): Promise<Readable> => source.blob(descriptor, signal),
      signal,
    );
    layers.push({ descriptor: ociLayer(descriptor), diffId, path, createdBy: '' });
  }
  return layers;
}

/** The packages that the search paths list, first one first. */
function shownPackages(
  { searched, packages }: AssembleOptions,
  packageLayers: readonly PlacedPackage[],
  staged: readonly StagedBlob[],
) {
  const order = searched ?? packages.map(({ node }) => node.hash);
  return packageLayers
    .map(({ prefix, package: { node } }, index) => ({
      prefix,
      hash: node.hash,
      folders: (staged[index] as StagedBlob).facts.folders,
    }))
    .filter(({ hash }) => order.includes(hash))
    .sort((a, b) => order.indexOf(a.hash) - order.indexOf(b.hash));
}

/** How a container starts: the base's settings with those of the stack over them. */
function startOf(
  below: ImageConfig['config'],
  settings: ImageSettings,
  env: readonly string[],
): ImageConfig['config'] {
  const own = Object.entries(settings.env ?? {}).map(([name, value]) => `${name}=${value}`);
  const replacedNames = new Set(Object.keys(settings.env ?? {}));
  const inherited = env.filter((entry) => !replacedNames.has(entry.slice(0, entry.indexOf('='))));
  const labels = { ...below?.Labels, ...settings.labels };
  // A command of its own must not become arguments of the base's entrypoint.
  const replaced = settings.command !== undefined || settings.entrypoint !== undefined;
  return {
    ...below,
    Env: [...inherited, ...own],
    User: settings.user || below?.User,
    WorkingDir: settings.workdir || below?.WorkingDir,
    Entrypoint: replaced ? settings.entrypoint : below?.Entrypoint,
    Cmd: replaced ? settings.command : below?.Cmd,
    Labels: Object.keys(labels).length > 0 ? labels : undefined,
  };
}
