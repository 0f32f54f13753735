import type { Readable } from 'node:stream';
import {
  type InspectedPrefix,
  type PackageContents,
  type PackageLibraries,
  parseBuildInfo,
  searchPaths,
} from '@stackwright/buildcache';
import {
  type BaseImage,
  composeImage,
  type ImageConfig,
  type ImageDocument,
  ociLayer,
  type Platform,
  RegistryRepository,
} from '@stackwright/oci';
import { checkPlatform, platformOf } from './base.js';
import { ImageError } from './error.js';
import { type OwnContent, ownLayer } from './files.js';
import { keyOf, type LayerFile, openLayer, type PackageBlob, type PackageFacts } from './layer.js';
import { mergeLayers } from './merge.js';
import { type MovedPackage, moveKey, planMove, relocatedTar } from './move.js';
import { sbangLayer, sbangPaths } from './sbang.js';
import type { SbomPackage } from './sbom.js';
import type { Staging } from './staging.js';
import { profileLayer, type View, type ViewConflict, viewLayer, viewOf } from './view.js';

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
  /** Absolute folder of a view of the packages on the search paths, which lead through it then; none when left out. */
  readonly view?: string;
  readonly settings?: ImageSettings;
  /** Files and users besides those of base and packages. */
  readonly own?: OwnContent;
  readonly staging: Staging;
  /** Docker's overlay refuses more than 127 layers; past this number the smallest are put together. 120 by default. */
  readonly mostLayers?: number;
  /** Read every blob, also those of which a trusted key has signed what is in them. */
  readonly check?: boolean;
  /**
   * Keep, in packages that are moved, the files below `.spack` that describe the machine they were built on. Packages
   * that stay where they were built are the mirror's blobs, and keep all files.
   */
  readonly buildFiles?: boolean;
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
  /** What its files ask for and offer, in the image. */
  /** Those below the prefix that search paths list. */
  readonly folders: readonly string[];
  readonly libraries: PackageLibraries;
  readonly contents: PackageContents;
}

/** An image that is ready to be written anywhere: small documents in memory, layers as files. */
export interface AssembledImage {
  readonly manifest: ImageDocument;
  readonly config: ImageDocument;
  /** In the manifest's order, those of the base first. */
  readonly layers: readonly LayerFile[];
  readonly packages: readonly PlacedPackage[];
  /** Layers of the base, and those of what no package brings along. */
  readonly others: readonly LayerFile[];
  /** Names that several packages have in the view. */
  readonly conflicts: readonly ViewConflict[];
  readonly bill: readonly SbomPackage[];
  /** The image below. */
  readonly base?: { readonly name: string; readonly digest: string };
}

/** Of a mirror of packages for several platforms without a base, which does not run. */
const anyPlatform: Platform = { os: 'linux', architecture: 'amd64' };
const epoch = '1970-01-01T00:00:00Z';

/**
 * Assembles an image from packages' blobs: those whose root is the image's become layers as they are, the others are
 * relocated and packed anew. A blob of which no trusted key has signed what is in it is read once and checked. Nothing is written but into `staging`.
 * @throws ImageError, or the mirror's and registry's own errors
 */
export async function assembleImage(options: AssembleOptions): Promise<AssembledImage> {
  const { packages, staging, signal } = options;
  if (packages.length === 0)
    throw new ImageError('no-packages', 'The stack has no packages to put into an image.');
  checkPlatform(options.base, onePlatform(packages));
  const taken = await takeAll(options);
  const packageLayers = await makeLayers(options, taken);
  const baseLayers = options.base ? await stageBase(options.base, staging, signal) : [];
  const shown = shownPackages(options, packageLayers);
  const view = options.view === undefined ? undefined : viewOf(options.view, shown);
  const inspected = view ? [view.inspected] : shown;
  const ownLayers = await sharedLayers(options, packageLayers, view, inspected);
  const room = (options.mostLayers ?? 120) - baseLayers.length;
  const merged = await mergeLayers(
    [...packageLayers.map(({ layer }) => layer), ...ownLayers],
    Math.max(room, 1),
    staging,
    signal,
  );
  return {
    ...imageOf({
      base: options.base,
      settings: options.settings,
      platform: onePlatform(packages),
      env: searchPaths(inspected, options.base?.image.config.config?.Env),
      baseLayers,
      layers: merged,
    }),
    packages: packageLayers,
    others: [...baseLayers, ...ownLayers],
    conflicts: view?.conflicts ?? [],
    bill: packages.map(({ node, descriptor: { digest }, spec, signedBy }) => ({
      node,
      digest,
      spec,
      signedBy,
    })),
  };
}

/** The image of these layers on those of a base, as settings want it to start. */
export function imageOf(parts: {
  readonly base: BaseImage | undefined;
  readonly settings: ImageSettings | undefined;
  /** Of the packages; the base's own counts more. */
  readonly platform: Platform | undefined;
  /** Environment, as `NAME=value`. */
  readonly env: readonly string[];
  readonly baseLayers: readonly LayerFile[];
  readonly layers: readonly LayerFile[];
}): Pick<AssembledImage, 'manifest' | 'config' | 'layers' | 'base'> {
  const { base, settings = {}, platform, baseLayers, layers } = parts;
  const { manifest, config } = composeImage({
    base: base?.image,
    layers,
    platform: platform ?? anyPlatform,
    config: startOf(base?.image.config.config, { ...settings, labels: labelsOf(base, settings) }, parts.env),
    created: settings.created ?? epoch,
  });
  const below = base && { name: base.source.name, digest: base.image.descriptor.digest };
  return { manifest, config, layers: [...baseLayers, ...layers], base: below };
}

/** @throws ImageError `platform` when the packages are of several */
function onePlatform(packages: readonly PackageBlob[]): Platform {
  const platform = platformOf(packages.map(({ node }) => node));
  if (platform) return platform;
  const all = packages.map(({ node }) => node.arch.target);
  throw new ImageError(
    'platform',
    `The packages are for several platforms (targets ${[...new Set(all)].sort().join(', ')}); an image has one.`,
    { hint: 'Make one image for each: put their specs into groups and choose one with --group.' },
  );
}

/** A package with what has to be known of it, and the file that holds its blob. */
interface TakenPackage {
  readonly blob: PackageBlob;
  readonly facts: PackageFacts;
  readonly path: string;
}

async function takeAll({ packages, staging, check, signal }: AssembleOptions): Promise<TakenPackage[]> {
  const taken: TakenPackage[] = new Array(packages.length);
  let next = 0;
  // Two at a time: one waits for the disk or network while the other hashes.
  const worker = async () => {
    for (let index = next++; index < packages.length; index = next++) {
      const blob = packages[index] as PackageBlob;
      taken[index] = { blob, ...(await staging.take(blob, { check, signal })) };
    }
  };
  await Promise.all([worker(), worker()]);
  return taken;
}

async function makeLayers(
  options: AssembleOptions,
  taken: readonly TakenPackage[],
): Promise<PlacedPackage[]> {
  const moves = planMove(taken, options.installRoot);
  const layers: PlacedPackage[] = [];
  for (const [index, { blob, facts, path }] of taken.entries()) {
    const move = moves[index] as MovedPackage;
    const createdBy = `stackwright: ${blob.node.name}@${blob.node.version}/${blob.node.hash}`;
    const { layer, found } = move.stays
      ? { layer: layerOf(blob, facts, path, createdBy), found: facts }
      : await relocatedLayer(move, createdBy, options);
    const ready: PlacedPackage = {
      package: blob,
      origin: move.stays ? 'mirror' : 'relocated',
      layer,
      prefix: move.prefix,
      folders: facts.folders,
      libraries: found.libraries,
      contents: found.contents,
    };
    layers.push(ready);
    options.onLayer?.(ready);
  }
  return layers;
}

function layerOf(
  { descriptor, repository }: PackageBlob,
  { diffId }: PackageFacts,
  path: string,
  createdBy: string,
): LayerFile {
  return { descriptor, diffId, path, createdBy, from: repository };
}

async function relocatedLayer(
  move: MovedPackage,
  createdBy: string,
  { staging, buildFiles = false, signal }: AssembleOptions,
): Promise<{ readonly layer: LayerFile; readonly found: Pick<PackageFacts, 'libraries' | 'contents'> }> {
  const { blob } = move;
  const key = keyOf('relocated', String(buildFiles), blob.descriptor.digest, moveKey(move));
  // What has to change in which files only the tarball says.
  const { facts, path } = await staging.stage(blob, signal);
  const info = parseBuildInfo(facts.distribution, createdBy);
  const open = () => openLayer({ path, descriptor: blob.descriptor });
  const tar = relocatedTar(open, info, move, { buildFiles, signal });
  const found = () => {
    const { libraries, contents } = tar.found();
    return { libraries, contents };
  };
  return staging.packWith(key, tar.open, createdBy, found, { signal });
}

/** Layers of what no package brings along itself. */
async function sharedLayers(
  { base, own, staging, signal }: AssembleOptions,
  packages: readonly PlacedPackage[],
  view: View | undefined,
  inspected: readonly InspectedPrefix[],
): Promise<LayerFile[]> {
  const within = (path: string) => packages.some(({ prefix }) => path.startsWith(`${prefix}/`));
  const sbang = sbangPaths(packages).filter((path) => !within(path));
  const layers: LayerFile[] = [];
  if (sbang.length > 0) layers.push(await sbangLayer(sbang, staging, signal));
  if (view && view.links.size > 0) layers.push(await viewLayer(view, staging, signal));
  // Without a base there is no shell.
  if (base && view) layers.push(await profileLayer(inspected, staging, signal));
  const files = own && (await ownLayer(own, base, staging, signal));
  return files ? [...layers, files] : layers;
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
    const from = source instanceof RegistryRepository ? source : undefined;
    layers.push({ descriptor: ociLayer(descriptor), diffId, path, createdBy: '', from });
  }
  return layers;
}

/** The packages that the search paths list, first one first. */
function shownPackages(
  { searched, packages }: AssembleOptions,
  placed: readonly PlacedPackage[],
): PlacedPackage[] {
  const order = searched ?? packages.map(({ node }) => node.hash);
  const place = ({ package: { node } }: PlacedPackage) => order.indexOf(node.hash);
  return placed.filter((one) => place(one) >= 0).sort((a, b) => place(a) - place(b));
}

/** Labels of the stack, and those that say what the image was built on (OCI image spec 1.1, annotations). */
function labelsOf(base: BaseImage | undefined, { labels }: ImageSettings): ImageSettings['labels'] {
  if (!base) return labels;
  const { source, image } = base;
  const name: ImageSettings['labels'] =
    source instanceof RegistryRepository ? { 'org.opencontainers.image.base.name': source.name } : {};
  return { ...name, 'org.opencontainers.image.base.digest': image.descriptor.digest, ...labels };
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
