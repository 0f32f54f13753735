import {
  type AssembledImage,
  assembleImage,
  assembleMirrorImage,
  type BaseImage,
  filesOfBase,
  ImageError,
  type ImageSettings,
  type MissingPart,
  missingParts,
  openBase,
  packageBlob,
  platformOf,
  refuseIncomplete,
  runtimeClosure,
  Staging,
  searchOrder,
} from '@stackwright/image';
import type { ConcreteNode, Lock, StackSettings } from '@stackwright/spack-env';
import type { Caller } from './caller.js';
import { StackError } from './error.js';
import { shipped } from './groups.js';
import { chooseMirrors, type MirrorOptions, StackMirrors } from './mirrors.js';
import { refuseChanged, type Stack } from './stack.js';
import { type Survey, survey, type Usable } from './survey.js';
import { type AgeOptions, stackTrust } from './trust.js';

/** What an image is to be, over what `stackwright.yaml` says. */
export interface ImageOptions {
  /** `scratch`, `oci:FOLDER[:TAG]` relative to where the caller is, or a reference. */
  readonly base?: string;
  /** `software`: the packages, installed; `mirror`: a mirror of all that the stack ships, to install from. */
  readonly kind?: 'software' | 'mirror';
  /** Absolute folder of the mirror in an image of that kind; `/mirror` when left out. */
  readonly mirrorRoot?: string;
  /** Absolute folder that packages lie under in the image; where they were built when left out. */
  readonly installRoot?: string;
  /** Absolute folder of the view in the image, `false` for none; `/opt/view` on a base, none on `scratch` when left out. */
  readonly view?: string | boolean;
  /**
   * Whether an image is refused whose programs could not start: as `image.check` in `stackwright.yaml` says, else yes.
   * `true` reads every binary for it, also those of which a trusted key has signed what is in them.
   */
  readonly check?: boolean;
  readonly settings?: ImageSettings;
}

export interface StackImageOptions extends ImageOptions {
  readonly mirrors: StackMirrors;
  /** What is known of the mirrors already: nothing in it is read again. */
  readonly known?: Survey;
  readonly staging: Staging;
  readonly onLayer?: (ready: number, all: number) => void;
  /** Told what programs of the image lack; the image is refused when left out. */
  readonly onMissing?: (missing: readonly MissingPart[]) => void;
}

/** The packages that an image of a stack needs. @param lock what the stack ships */
export function packagesOfImage(stack: Stack, lock: Lock, options: ImageOptions): ConcreteNode[] {
  return kindOfImage(stack, options) === 'mirror'
    ? [...lock.nodes.values()].filter((node) => !node.external)
    : runtimeClosure(lock);
}

/** What an image of a stack holds. */
export function kindOfImage(
  { settings }: Stack,
  { kind }: Pick<ImageOptions, 'kind'>,
): 'software' | 'mirror' {
  return kind ?? settings.image.kind ?? 'software';
}

/**
 * The one way in which the image of a stack is made: `spack.lock` and the groups say what is in it, the mirrors have the binaries, and
 * `stackwright.yaml` says what lies below, what the image runs, and whose signatures count.
 * @throws the error of the first package that is refused, ImageError naming every package that no mirror has, and the
 *   errors of mirrors, registries and the base; nothing is written but into `staging`
 */
export async function stackImage(
  caller: Caller,
  stack: Stack,
  options: StackImageOptions,
): Promise<AssembledImage> {
  const { cwd, env, signal } = caller;
  const { mirrors, staging } = options;
  const own = stack.settings.image;
  const lock = await shipped(stack);
  const nodes = packagesOfImage(stack, lock, options);
  const packages = await take(mirrors, nodes, options.known);
  const platform = platformOf(nodes);
  const base = options.base
    ? await openBase(options.base, { cwd, env, platform, work: staging.folder, signal })
    : await openBase(own.base ?? 'scratch', {
        cwd: stack.folder,
        env,
        platform,
        work: staging.folder,
        signal,
      });
  const image = await assemble(stack, options, { base, packages, lock, created: createdOf(env), signal });
  tellConflicts(caller, image);
  if (options.check ?? own.check ?? true) {
    const missing = await missingParts(image, { staging, hostProvides: own.hostProvides, signal });
    (options.onMissing ?? refuseIncomplete)(missing);
  }
  return image;
}

interface ImageInput {
  readonly base: BaseImage | undefined;
  readonly packages: Awaited<ReturnType<typeof take>>;
  readonly lock: Lock;
  readonly created: string | undefined;
  readonly signal: AbortSignal;
}

async function assemble(
  stack: Stack,
  options: StackImageOptions,
  { base, packages, lock, created, signal }: ImageInput,
): Promise<AssembledImage> {
  const { staging } = options;
  const own = stack.settings.image;
  const kind = kindOfImage(stack, options);
  const start = await startOf(settingsOf(own, options.settings, kind), base, staging, signal);
  const settings = { ...start, created };
  const content = { files: own.files, users: own.users, folder: stack.folder };
  const shared = { base, settings, own: content, staging, signal };
  if (kind === 'mirror') {
    const root = options.mirrorRoot ?? own.mirrorRoot ?? '/mirror';
    if (!/^(?:\/[\w.+-]+)+$/.test(root) || root.includes('/..'))
      throw new StackError('bad-value', `"${root}" is no folder for a mirror.`, {
        hint: 'Give an absolute path: /mirror.',
      });
    return assembleMirrorImage({ ...shared, packages, root, onLayer: options.onLayer });
  }
  let ready = 0;
  return assembleImage({
    ...shared,
    packages: packages.map(({ mirror, node, manifest }) => packageBlob(mirror, node, manifest)),
    searched: searchOrder(lock),
    check: options.check,
    installRoot: options.installRoot ?? own.installRoot,
    view: viewRoot(options.view ?? own.view, base),
    buildFiles: own.buildFiles,
    onLayer: () => options.onLayer?.((ready += 1), packages.length),
  });
}

/** The time that `SOURCE_DATE_EPOCH` says (reproducible-builds.org), in seconds; undefined where it is not set. */
function createdOf({ SOURCE_DATE_EPOCH: seconds }: NodeJS.ProcessEnv): string | undefined {
  if (!seconds) return undefined;
  if (!/^\d{1,11}$/.test(seconds))
    throw new StackError('bad-value', `SOURCE_DATE_EPOCH is "${seconds}", which is no number of seconds.`, {
      hint: 'Set it to the time of the commit: git log -1 --format=%ct',
    });
  return new Date(Number(seconds) * 1000).toISOString().replace(/\.\d+Z$/, 'Z');
}

const defaultView = '/opt/view';

/** Without a base there is no shell, and nobody who looks around. */
function viewRoot(view: string | boolean | undefined, base: BaseImage | undefined): string | undefined {
  const wanted = view ?? base !== undefined;
  return wanted === true ? defaultView : wanted || undefined;
}

const mostTold = 5;

function tellConflicts({ note }: Caller, { conflicts }: AssembledImage): void {
  if (conflicts.length === 0) return;
  const told = conflicts.slice(0, mostTold).map(({ path, packages }) => `${path} (${packages.join(', ')})`);
  const more = conflicts.length > mostTold ? ` and ${conflicts.length - mostTold} more` : '';
  note(
    `Several packages have the same names in the view; that of the first one is taken: ${told.join(', ')}${more}.`,
  );
}

/** Where neither the stack nor the base says what a container runs, it is a shell, if the base has one. */
async function startOf(
  settings: ImageSettings,
  base: BaseImage | undefined,
  staging: Staging,
  signal: AbortSignal,
): Promise<ImageSettings> {
  const below = base?.image.config.config;
  const given = [settings.command, settings.entrypoint, below?.Cmd, below?.Entrypoint];
  if (!base || given.some((words) => words && words.length > 0)) return settings;
  const files = await filesOfBase(base, staging, signal);
  const shell = ['/bin/bash', '/bin/sh'].find((path) => files.isFile(path));
  return { ...settings, command: shell === undefined ? undefined : [shell] };
}

export interface OpenImageOptions extends ImageOptions, MirrorOptions, AgeOptions {
  /** Files of public keys whose signatures count besides those that the stack names. */
  readonly trust?: readonly string[];
  /** Folder that remembers checked blobs. */
  readonly staging: string;
  readonly onLayer?: (ready: number, all: number) => void;
}

/** The image of a stack from its mirrors as they are: nothing is built. */
export async function openStackImage(
  caller: Caller,
  stack: Stack,
  options: OpenImageOptions,
): Promise<AssembledImage> {
  await refuseChanged(stack);
  const choice = await chooseMirrors(caller, stack, options);
  const mirrors = new StackMirrors(caller, choice, stackTrust(caller, stack, options));
  try {
    return await stackImage(caller, stack, {
      ...options,
      mirrors,
      staging: await Staging.open(options.staging),
    });
  } finally {
    await mirrors.close();
  }
}

/**
 * What `stackwright.yaml` says, and over it what is asked for here. The command that it names is one of the software: an
 * image of a mirror does not have it.
 */
function settingsOf(
  { command, entrypoint, ...own }: StackSettings['image'],
  over: ImageSettings | undefined,
  kind: 'software' | 'mirror',
): ImageSettings {
  const asked = Object.entries(over ?? {}).filter(([, value]) => value !== undefined);
  const start = kind === 'software' ? { command, entrypoint } : {};
  return { ...start, ...own, ...Object.fromEntries(asked), labels: { ...own.labels, ...over?.labels } };
}

/** Finds every package in the mirrors. What `known` says is not looked up again. */
async function take(mirrors: StackMirrors, nodes: readonly ConcreteNode[], known: Survey | undefined) {
  const unknown = nodes.filter((node) => !isUsable(known?.packages.get(node.hash)));
  const looked = await survey(mirrors, unknown, { by: 'manifests' });
  const missing: ConcreteNode[] = [];
  const taken = nodes.flatMap((node) => {
    const found = known?.packages.get(node.hash);
    const usable = isUsable(found) ? found : looked.packages.get(node.hash);
    // An image builds nothing: what does not count cannot be made anew here.
    if (usable?.state === 'refused' && usable.error) throw usable.error;
    if (isUsable(usable)) return [{ node, mirror: usable.mirror, manifest: usable.manifest }];
    missing.push(node);
    return [];
  });
  if (missing.length > 0) {
    const { describe } = await import('@stackwright/buildcache');
    const where = mirrors.places.map(({ fetch }) => fetch).join(', ') || 'No mirror of the stack';
    throw new ImageError(
      'missing-packages',
      `${where} lacks ${missing.length} of the image's ${nodes.length} packages: ${missing.map(describe).join(', ')}.`,
      { hint: 'Build and push them first: stackwright run STACK --mirror URL' },
    );
  }
  return taken;
}

function isUsable(found: ReturnType<Survey['packages']['get']>): found is Usable & {
  readonly manifest: NonNullable<Usable['manifest']>;
} {
  return found?.state === 'usable' && found.manifest !== undefined;
}
