import {
  attach,
  type Descriptor,
  type Digest,
  type Manifest,
  type RegistryRepository,
  readAll,
  referrersOf,
} from '@stackwright/oci';
import { BuildcacheError } from '../error.js';
import type { SignaturePolicy } from '../mirror.js';
import { describe, type PackageRef } from '../package-ref.js';
import { isSigned } from '../sign/signature.js';
import { type PackageRecords, readRecords } from '../v3/package-records.js';

/**
 * A package's signed manifest as layout v3 has it, with the spec's blob that it names. In a registry the two travel as
 * a referrer of the package's image (OCI image spec 1.1), which Spack does not look at.
 */
export interface SignedManifest {
  /** Clear-signed. */
  readonly text: string;
  readonly specBytes: Buffer;
}

/** The `artifactType` of the referrers. */
export const signedType = 'application/vnd.stackwright.package.v1';
const textType = 'application/vnd.stackwright.manifest.v3+pgp';

/** Bytes that a signed manifest, and a spec's blob, may have at most. */
const limits = { text: 1 << 20, spec: 64 << 20 };

/** Attaches a signed manifest to a package's image. */
export async function attachSigned(
  repository: RegistryRepository,
  image: Descriptor,
  { text, specBytes }: SignedManifest,
  signal?: AbortSignal,
): Promise<void> {
  const layers = [
    { mediaType: textType, bytes: Buffer.from(text) },
    { mediaType: 'application/vnd.spack.spec.v5+json', bytes: specBytes },
  ];
  await attach(repository, image, { artifactType: signedType, layers }, signal);
}

/** Whether an image has this signed manifest already. */
export async function isAttached(
  repository: RegistryRepository,
  image: Digest,
  text: string,
  signal?: AbortSignal,
): Promise<boolean> {
  for await (const one of attached(repository, image, signal)) if (one.text === text) return true;
  return false;
}

/** All signed manifests of an image, unchecked, the latest first. */
export async function* attached(
  repository: RegistryRepository,
  image: Digest,
  signal?: AbortSignal,
): AsyncGenerator<SignedManifest> {
  const found = await referrersOf(repository, image, signedType, signal);
  for (const { digest } of [...found].reverse()) {
    const artifact = await repository.manifest(digest, signal);
    if (!artifact) continue;
    const where = `${repository.name}@${digest}`;
    const [text, spec] = layersOf(artifact.bytes, where);
    const read = async (layer: Descriptor, limit: number) => {
      if (layer.size > limit) throw broken(where, 'names a blob that is too large');
      return readAll(await repository.blob(layer, signal));
    };
    yield {
      text: (await read(text, limits.text)).toString('utf8'),
      specBytes: await read(spec, limits.spec),
    };
  }
}

/**
 * The signed manifest of a package whose signature counts.
 * @throws BuildcacheError `signature-missing` where there is none; what is wrong with the last one where none counts
 */
export async function readSigned(
  repository: RegistryRepository,
  image: Digest,
  ref: PackageRef,
  place: { readonly policy: SignaturePolicy; readonly mirror: string; readonly key: string },
  signal?: AbortSignal,
): Promise<SignedManifest & PackageRecords> {
  const what = describe(ref);
  let reason: BuildcacheError | undefined;
  for await (const signed of attached(repository, image, signal)) {
    try {
      if (!isSigned(signed.text)) throw missing(what, place.mirror);
      return { ...signed, ...(await readRecords(signed.text, ref, place)) };
    } catch (error) {
      if (!(error instanceof BuildcacheError)) throw error;
      reason ??= error;
    }
  }
  throw reason ?? missing(what, place.mirror);
}

function missing(what: string, mirror: string): BuildcacheError {
  return new BuildcacheError('signature-missing', `${what} is not signed in ${mirror}.`, {
    package: what,
    mirror,
    hint: 'Sign it (stackwright mirror sign), or allow unsigned packages (--unsigned).',
  });
}

function layersOf(bytes: Buffer, where: string): [Descriptor, Descriptor] {
  let layers: unknown;
  try {
    layers = (JSON.parse(bytes.toString('utf8')) as Manifest).layers;
  } catch {
    layers = undefined;
  }
  const valid = (one: unknown): one is Descriptor =>
    typeof one === 'object' &&
    one !== null &&
    /^sha256:[0-9a-f]{64}$/.test(String((one as Descriptor).digest)) &&
    Number.isSafeInteger((one as Descriptor).size);
  if (!Array.isArray(layers) || layers.length !== 2 || !layers.every(valid))
    throw broken(where, 'is no signed manifest of a package');
  return layers as [Descriptor, Descriptor];
}

function broken(where: string, why: string): BuildcacheError {
  return new BuildcacheError('manifest', `${where} ${why}.`, { key: where, hint: 'Sign the package again.' });
}
