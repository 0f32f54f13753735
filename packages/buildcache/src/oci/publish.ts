import type { BaseImage, Descriptor, Digest, Layer } from '@stackwright/oci';
import type { ConcreteNode } from '@stackwright/spack-env';
import pLimit from 'p-limit';
import { goArchitecture } from '../architecture.js';
import { BuildcacheError } from '../error.js';
import { readLayerFacts } from '../layer-facts.js';
import type { PackageFailure, PushAllOptions } from '../mirror-writer.js';
import { describe, type PackageRef } from '../package-ref.js';
import type { InspectedPrefix } from '../search-path.js';
import type { Signer } from '../sign/signature.js';
import { trustOf } from '../sign/trust.js';
import type { SpecDocument } from '../spec-document.js';
import { annotationsOf, imageOf, packageKeys, putImage, type StackedLayer } from './image.js';
import { deepestFirst } from './order.js';
import { inspectedIn } from './package.js';
import type { OciReader } from './reader.js';
import { attached, attachSigned, isAttached, type SignedManifest } from './signed-manifest.js';
import { tagOf } from './tag.js';

/** A package on its way into a registry. */
export interface Upload extends PackageRef {
  /** Its spec, read or parsed anew: those of a whole mirror would not fit into memory. */
  document(): Promise<SpecDocument>;
  /** The tarball's digest, where it is known before the tarball is made. */
  readonly digest?: Digest;
  /** Whether it comes with a signed manifest. */
  readonly signs: boolean;
  /** Who signs it, where somebody does just now. */
  readonly signer?: Signer;
  /** Its signed manifest, where it has one; asked for after `put`. */
  signed(): Promise<SignedManifest | undefined>;
  /** Makes the tarball, uploads it, and tells what it is. */
  put(): Promise<Layer & { readonly inspected: InspectedPrefix }>;
}

export interface PublishOptions
  extends Pick<PushAllOptions, 'force' | 'base' | 'combined' | 'parallel' | 'signal'> {
  readonly onDone?: (ref: PackageRef, outcome: 'pushed' | 'present' | Error) => void;
}

export interface Published {
  readonly outcomes: ReadonlyMap<string, 'pushed' | 'present'>;
  readonly failed: readonly PackageFailure[];
  /** How many layers the image of all has. */
  readonly combinedLayers?: number;
}

/**
 * Puts packages into a registry. A package's manifest, which names the layers of all that it links or runs too, is
 * written once these layers are there. Goes on after a failure and reports it. The same packages always give the same
 * manifests: no time of the day is in them.
 */
export async function publish(
  mirror: OciReader,
  uploads: readonly Upload[],
  options: PublishOptions,
): Promise<Published> {
  const publication = new Publication(mirror, uploads, await openBases(uploads, options), options);
  const outcomes = new Map<string, 'pushed' | 'present'>();
  const failed: PackageFailure[] = [];
  // A layer that a package waits for is made whether or not its own package has begun.
  const limit = pLimit(16);
  const publishOne = async (upload: Upload) => {
    const { name, version, hash } = upload;
    let outcome: 'pushed' | 'present' | Error;
    try {
      outcome = await publication.publish(upload);
      outcomes.set(hash, outcome);
    } catch (error) {
      outcome = error as Error;
      failed.push({ package: { name, version, hash }, error: outcome });
    }
    options.onDone?.({ name, version, hash }, outcome);
  };
  await Promise.all(uploads.map((upload) => limit(() => publishOne(upload))));
  options.signal?.throwIfAborted();
  if (!options.combined || failed.length > 0) return { outcomes, failed };
  return { outcomes, failed, combinedLayers: await publication.combine(options.combined) };
}

/** One call of `publish`: each layer is made once, whoever needs it. */
class Publication {
  readonly #sending;
  readonly #looking = pLimit(16);
  readonly #uploads: ReadonlyMap<string, Upload>;
  readonly #there = memo((node: ConcreteNode) =>
    this.#looking(() => packageThere(this.mirror, node, this.options.signal)),
  );
  /** Whether what is there of a package was signed by who signs it now. */
  readonly #ownSignature = memo((node: ConcreteNode) =>
    this.#isSignedBy(this.#uploads.get(node.hash)?.signer, node),
  );
  readonly #layer = memo((node: ConcreteNode) => this.#makeLayer(node));
  readonly #base = memo(({ hash }: { readonly hash: string }) => this.#copyBase(this.bases.get(hash)));

  constructor(
    private readonly mirror: OciReader,
    uploads: readonly Upload[],
    private readonly bases: ReadonlyMap<string, BaseImage>,
    private readonly options: PublishOptions,
  ) {
    this.#sending = pLimit(options.parallel ?? 4);
    this.#uploads = new Map(uploads.map((upload) => [upload.hash, upload]));
  }

  async publish(upload: Upload): Promise<'pushed' | 'present'> {
    const document = await upload.document();
    const { root, nodes } = document;
    const { stack } = await this.#stack([root], nodes);
    const there = this.options.force ? undefined : await this.#usable(root);
    if (there && holds(there, stack)) return this.#signAgain(upload, root, there);
    return this.#sending(async (): Promise<'pushed'> => {
      this.options.signal?.throwIfAborted();
      const extra = packageKeys(document, stack.at(-1)!);
      const more = { extra, annotations: annotationsOf(document) };
      const own = stack.at(-1)!.descriptor.digest;
      await this.#putImage(tagOf(root), root, stack, more, await this.#signatures(upload, own));
      return 'pushed';
    });
  }

  /** A package that is there may lack the signature. */
  async #signAgain(upload: Upload, root: ConcreteNode, { image }: There): Promise<'pushed' | 'present'> {
    const { repository } = this.mirror;
    const { signal } = this.options;
    if (upload.signer && (await this.#ownSignature(root))) return 'present';
    const signed = await upload.signed();
    if (!signed || (await isAttached(repository, image.digest, signed.text, signal))) return 'present';
    await attachSigned(repository, image, signed, signal);
    return 'pushed';
  }

  /** What has been signed of a tarball: now, else before, since an image that is completed is another image. */
  async #signatures(upload: Upload, tarball: string): Promise<SignedManifest[]> {
    const signed = await upload.signed();
    if (signed) return [signed];
    const there = await packageThere(this.mirror, upload, this.options.signal);
    if (!there || there.layer.descriptor.digest !== tarball) return [];
    const before: SignedManifest[] = [];
    for await (const one of attached(this.mirror.repository, there.image.digest, this.options.signal))
      before.unshift(one);
    return before;
  }

  async combine({ tag, roots: hashes }: NonNullable<PublishOptions['combined']>): Promise<number> {
    const nodes = new Map<string, ConcreteNode>();
    for (const hash of hashes)
      for (const [one, node] of (await this.#uploads.get(hash)?.document())?.nodes ?? [])
        nodes.set(one, node);
    const roots = hashes.flatMap((hash) => nodes.get(hash) ?? []);
    const { stack, missing } = await this.#stack(roots, nodes);
    if (missing.length > 0) throw incomplete(this.mirror, tag, missing);
    return this.#putImage(tag, roots[0]!, stack);
  }

  /** The layers of an image of these packages, and which of them there are none of. */
  async #stack(
    roots: readonly ConcreteNode[],
    nodes: ReadonlyMap<string, ConcreteNode>,
  ): Promise<{ stack: StackedLayer[]; missing: ConcreteNode[] }> {
    const order = deepestFirst(roots, nodes);
    const layers = await Promise.all(
      order.map((node) => {
        // What fails is reported by its own name; an image without it still serves those who install from it.
        return roots.includes(node) ? this.#layer(node) : this.#layer(node).catch(() => undefined);
      }),
    );
    const stack = layers.filter((layer) => layer !== undefined);
    return { stack, missing: order.filter((_, index) => !layers[index]) };
  }

  /**
   * What is there of a package, unless it has to make room for what is signed now: nobody signs a tarball that somebody
   * else left there.
   */
  async #usable(node: ConcreteNode): Promise<There | undefined> {
    const there = await this.#there(node);
    const upload = this.#uploads.get(node.hash);
    if (!there || !upload?.signs) return there;
    if (upload.digest !== undefined)
      return upload.digest === there.layer.descriptor.digest ? there : undefined;
    return (await this.#ownSignature(node)) ? there : undefined;
  }

  async #isSignedBy(signer: Signer | undefined, node: ConcreteNode): Promise<boolean> {
    if (!signer) return false;
    const trust = await trustOf({ keys: [{ text: await signer.publicKey(), from: 'the signing key' }] });
    try {
      await this.mirror.withPolicy({ kind: 'trusted', trust }).package(node, this.options.signal);
      return true;
    } catch (error) {
      if (error instanceof BuildcacheError) return false;
      throw error;
    }
  }

  async #makeLayer(node: ConcreteNode): Promise<StackedLayer | undefined> {
    const { force, signal } = this.options;
    const upload = this.#uploads.get(node.hash);
    const there = upload && force ? undefined : await this.#usable(node);
    const ref = { name: node.name, version: node.version, hash: node.hash };
    if (there && (!upload?.digest || upload.digest === there.layer.descriptor.digest))
      return { ...there.layer, ref, inspected: there.inspected ?? (await inspect(this.mirror, ref, signal)) };
    if (!upload) return undefined;
    return this.#sending(async () => {
      signal?.throwIfAborted();
      return { ...(await upload.put()), ref };
    });
  }

  /** Returns the number of layers. */
  async #putImage(
    tag: string,
    { arch }: ConcreteNode,
    stack: readonly StackedLayer[],
    more?: Parameters<typeof imageOf>[3],
    signatures: readonly SignedManifest[] = [],
  ): Promise<number> {
    const architecture = goArchitecture(arch.target);
    await this.#base({ hash: architecture });
    const image = imageOf(architecture, stack, this.bases.get(architecture), more);
    const { repository } = this.mirror;
    // First what was signed: whoever sees the image finds it.
    for (const signed of signatures)
      await attachSigned(repository, image.manifest.descriptor, signed, this.options.signal);
    await putImage(repository, tag, image, this.options.signal);
    return image.layers.length;
  }

  async #copyBase(base: BaseImage | undefined): Promise<void> {
    if (!base) return;
    const { signal } = this.options;
    const from = sameRegistry(this.mirror, base.source);
    for (const descriptor of base.image.manifest.layers) {
      await this.mirror.repository.putBlob(descriptor, () => base.source.blob(descriptor, signal), {
        from,
        signal,
      });
    }
  }
}

/** `work` once for each `hash`, however often it is asked for. */
function memo<K extends { readonly hash: string }, T>(work: (key: K) => Promise<T>): (key: K) => Promise<T> {
  const running = new Map<string, Promise<T>>();
  return (key) => {
    let one = running.get(key.hash);
    if (!one) {
      one = work(key);
      // Whoever needs it waits for it, and hears of a failure there.
      one.catch(() => {});
      running.set(key.hash, one);
    }
    return one;
  };
}

async function openBases(
  uploads: readonly Upload[],
  { base }: PublishOptions,
): Promise<Map<string, BaseImage>> {
  const bases = new Map<string, BaseImage>();
  if (!base) return bases;
  const architectures = new Set<string>();
  for (const upload of uploads) architectures.add(goArchitecture((await upload.document()).root.arch.target));
  for (const architecture of architectures) {
    const found = await base(architecture);
    if (!found) continue;
    const { source, image } = found;
    const refuse = (why: string) => {
      throw new BuildcacheError('unsupported', `The base image of ${source.name} ${why}.`, {
        hint: 'Nothing was sent. Give another base image.',
      });
    };
    if (image.config.architecture !== architecture)
      refuse(`is for ${image.config.architecture}, the packages are for ${architecture}`);
    if (image.config.rootfs?.diff_ids?.length !== image.manifest.layers.length)
      refuse('does not tell the digests of all its layers');
    bases.set(architecture, found);
  }
  return bases;
}

/** What is remembered of a package that is there: not its spec, for there may be thousands. */
interface There {
  readonly image: Descriptor;
  readonly layer: Layer;
  /** Digests of all layers of its image. */
  readonly digests: readonly string[];
  readonly inspected: InspectedPrefix | undefined;
}

/** What a package's tag holds; nothing where it is broken, so that it is replaced. */
async function packageThere(
  mirror: OciReader,
  node: PackageRef,
  signal?: AbortSignal,
): Promise<There | undefined> {
  try {
    const found = await mirror.packageAt(tagOf(node), signal);
    if (found?.hash !== node.hash) return undefined;
    const digests = found.manifest.layers.map((layer) => layer.digest);
    return { image: found.image, layer: found.layer, digests, inspected: inspectedIn(found) };
  } catch (error) {
    if (error instanceof BuildcacheError) return undefined;
    throw error;
  }
}

async function inspect(mirror: OciReader, ref: PackageRef, signal?: AbortSignal): Promise<InspectedPrefix> {
  const { manifest } = await mirror.withPolicy({ kind: 'unsigned' }).package(ref, signal);
  const { prefix, folders } = await readLayerFacts(
    await mirror.tarball(manifest, signal),
    describe(ref),
    signal,
  );
  return { prefix, folders };
}

/** Whether an image has all these layers, its own last. */
function holds({ digests }: There, stack: readonly StackedLayer[]): boolean {
  return (
    digests.at(-1) === stack.at(-1)?.descriptor.digest &&
    stack.every((layer) => digests.includes(layer.descriptor.digest))
  );
}

/** The repository that a base comes from, where its blobs can be mounted instead of sent. */
export function sameRegistry(mirror: OciReader, source: object): string | undefined {
  const { registry, repository } = source as { registry?: string; repository?: string };
  return registry === mirror.repository.registry ? repository : undefined;
}

function incomplete(mirror: OciReader, tag: string, missing: readonly ConcreteNode[]): BuildcacheError {
  return new BuildcacheError(
    'missing-package',
    `The image ${mirror.repository.name}:${tag} would lack ${missing.map(describe).join(', ')}.`,
    { mirror: mirror.url, hint: 'Push these packages too.' },
  );
}
