import { dirname } from 'node:path';
import type { PackageContents, PackageLibraries } from '@stackwright/buildcache';
import type { Image, ImageConfig, ImageSource } from '@stackwright/oci';
import type { AssembledImage, PlacedPackage } from './assemble.js';
import { ImageError } from './error.js';
import { type AskingFile, FileTree } from './file-tree.js';
import { openLayer } from './layer.js';
import { filesOfLayer } from './layer-files.js';
import type { Staging } from './staging.js';

/** Something that a program of an image needs to start and that is not in the image. */
export interface MissingPart {
  /** Whose file it is: a package, or what made the layer. */
  readonly package: string;
  /** Absolute; the first of its kind. Missing for the command of the image. */
  readonly file?: string;
  readonly kind: 'interpreter' | 'library' | 'script interpreter' | 'command';
  readonly name: string;
}

export interface CompletenessOptions {
  readonly staging: Staging;
  /** Libraries and interpreters that the host brings at run time. */
  readonly hostProvides?: readonly string[];
  readonly signal?: AbortSignal;
}

type Asked = Pick<MissingPart, 'kind' | 'name'>;

/**
 * What the programs of an image need and do not find in it, from what is known of its packages; only of packages that
 * lack something a layer is opened, to name the file. Layers of the base are read once and remembered.
 */
export async function missingParts(
  image: AssembledImage,
  options: CompletenessOptions,
): Promise<MissingPart[]> {
  const { staging, hostProvides, signal } = options;
  const others = await Promise.all(
    image.others.map((layer) =>
      filesOfLayer({ descriptor: layer.descriptor, open: () => openLayer(layer) }, staging, signal),
    ),
  );
  const { config } = JSON.parse(image.config.bytes.toString()) as ImageConfig;
  const offers = new Offers(new FileTree(others), image.packages, config, hostProvides);
  const missing = missingCommand(config, offers);
  for (const one of image.packages) {
    const lacking = offers.lacking(asked(one.libraries, one.contents));
    if (lacking.length > 0) missing.push(...(await withFiles(one, lacking, options)));
  }
  return missing;
}

/** The same of an image that exists: every layer is read, once. */
export async function missingPartsOf(
  { manifest, config }: Pick<Image, 'manifest' | 'config'>,
  source: ImageSource,
  { staging, hostProvides, signal }: CompletenessOptions,
): Promise<MissingPart[]> {
  const steps = (config.history ?? []).filter((step) => !step.empty_layer);
  const made = manifest.layers.map(
    (_, index) => /^stackwright: (.*)$/.exec(steps[index]?.created_by ?? '')?.[1],
  );
  const layers = [];
  for (const descriptor of manifest.layers)
    layers.push(
      await filesOfLayer({ descriptor, open: () => source.blob(descriptor, signal) }, staging, signal),
    );
  const provided = new Set(layers.flatMap(({ asking }) => asking.flatMap((file) => file.provided)));
  const tree = new FileTree(layers);
  const offers = new Offers(tree, [], config.config, [...(hostProvides ?? []), ...provided]);
  const missing = missingCommand(config.config, offers);
  for (const [index, { asking }] of layers.entries()) {
    // Distributions have scripts for programs that are not installed. Of their layers only those above count.
    const name = made[index];
    if (name === undefined && made.some((one) => one !== undefined)) continue;
    const own = asking.filter(({ path }) => tree.isFile(path));
    missing.push(...firstFiles(own, name ?? `layer ${index + 1}`, offers.lacking(own.flatMap(askedBy))));
  }
  return missing;
}

/** @throws ImageError `incomplete` naming packages, files and what they lack */
export function refuseIncomplete(missing: readonly MissingPart[]): void {
  if (missing.length === 0) return;
  throw new ImageError('incomplete', describeMissing(missing), {
    hint: 'Take a base image that has it (image.base in stackwright.yaml, or --base). What the host brings at run time goes into image.hostProvides. With --no-check the image is made as it is.',
  });
}

const mostTold = 10;

/** Sentences for people. */
export function describeMissing(missing: readonly MissingPart[]): string {
  const told = missing.slice(0, mostTold).map(describePart);
  const more = missing.length > mostTold ? [`${missing.length - mostTold} more things are missing.`] : [];
  return ['Programs of the image could not start in it:', ...told, ...more].join('\n  ');
}

function describePart({ package: name, file, kind, name: what }: MissingPart): string {
  if (kind === 'command') return `The command "${what}" is not in the image, or on its search path.`;
  return `${name}: ${file ?? 'a file'} needs the ${kind} ${what}, which the image lacks.`;
}

function asked(
  libraries: Omit<PackageLibraries, 'provided'>,
  { shebangs }: Pick<PackageContents, 'shebangs'>,
): Asked[] {
  return [
    ...libraries.interpreters.map((name) => ({ kind: 'interpreter' as const, name })),
    ...libraries.needed.map((name) => ({ kind: 'library' as const, name })),
    ...shebangs.map((name) => ({ kind: 'script interpreter' as const, name })),
  ];
}

function askedBy(file: AskingFile): Asked[] {
  return asked(file, file);
}

function missingCommand(config: ImageConfig['config'], offers: Offers): MissingPart[] {
  const [program] = [...(config?.Entrypoint ?? []), ...(config?.Cmd ?? [])];
  if (program === undefined || offers.program(program)) return [];
  return [{ package: 'image', kind: 'command', name: program }];
}

/** What an image has for its programs. */
class Offers {
  readonly #libraries: ReadonlySet<string>;
  readonly #path: readonly string[];

  constructor(
    private readonly tree: FileTree,
    private readonly packages: readonly PlacedPackage[],
    private readonly config: ImageConfig['config'],
    private readonly host: readonly string[] = [],
  ) {
    this.#libraries = new Set([...packages.flatMap(({ libraries }) => libraries.provided), ...host]);
    const path = config?.Env?.find((entry) => entry.startsWith('PATH='))?.slice('PATH='.length);
    this.#path = path?.split(':') ?? ['/usr/bin', '/bin'];
  }

  /** What of these is not there, each once. */
  lacking(all: readonly Asked[]): Asked[] {
    const distinct = new Map(all.map((one) => [`${one.kind} ${one.name}`, one]));
    return [...distinct.values()].filter(({ kind, name }) => !this.#has(kind, name));
  }

  /** Whether a program that is named by its path, or looked for on the search path, is there. */
  program(name: string): boolean {
    if (name.startsWith('/')) return this.#file(name);
    if (name.includes('/')) return this.#file(`${this.config?.WorkingDir ?? ''}/${name}`);
    return this.#path.some((folder) => this.#file(`${folder}/${name}`));
  }

  #has(kind: MissingPart['kind'], name: string): boolean {
    if (this.host.includes(name)) return true;
    if (kind === 'interpreter') return this.#file(name);
    if (kind === 'library')
      return name.includes('/') ? this.#file(name) : this.#libraries.has(name) || this.tree.hasLibrary(name);
    const [interpreter = '', second] = name.split(' ');
    if (!this.#file(interpreter)) return false;
    return second === undefined || this.program(second);
  }

  #file(path: string): boolean {
    const real = this.tree.resolve(path, (part) => this.#owner(part) !== undefined);
    if (real === undefined) return false;
    const owner = this.#owner(real);
    return owner ? isListed(owner, real) : this.tree.isFile(real);
  }

  #owner(path: string): PlacedPackage | undefined {
    return this.packages.find(({ prefix }) => path.startsWith(`${prefix}/`));
  }
}

/** Whether a package has a file; of folders whose names are not known it is believed to. */
function isListed({ prefix, contents }: PlacedPackage, path: string): boolean {
  const below = path.slice(prefix.length + 1);
  const folder = dirname(below);
  const names = contents.entries[folder];
  // Its folders that are listed have all names, or none where there are very many; others are not listed.
  return names === undefined || names.includes(below.slice(folder.length + 1));
}

async function withFiles(
  { layer, package: { node } }: PlacedPackage,
  lacking: readonly Asked[],
  { staging, signal }: CompletenessOptions,
): Promise<MissingPart[]> {
  const readable = { descriptor: layer.descriptor, open: () => openLayer(layer) };
  const { asking } = await filesOfLayer(readable, staging, signal);
  return firstFiles(asking, `${node.name}@${node.version}/${node.hash}`, lacking);
}

function firstFiles(asking: readonly AskingFile[], owner: string, lacking: readonly Asked[]): MissingPart[] {
  return lacking.map(({ kind, name }) => ({
    package: owner,
    file: asking.find((file) => askedBy(file).some((one) => one.kind === kind && one.name === name))?.path,
    kind,
    name,
  }));
}
