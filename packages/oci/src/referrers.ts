import { Readable } from 'node:stream';
import { type Descriptor, type Digest, type ImageIndex, type Manifest, mediaTypes } from './descriptor.js';
import { digestOf, hexOf } from './digest.js';
import { OciError } from './error.js';
import type { RegistryRepository } from './registry.js';

/** What says something of an image: a manifest that names the image as its subject (OCI image spec 1.1). */
export interface Artifact {
  readonly artifactType: string;
  /** Blobs, uploaded with it. */
  readonly layers: readonly { readonly mediaType: string; readonly bytes: Uint8Array }[];
  readonly annotations?: Readonly<Record<string, string>>;
}

/** How many of an image's referrers are told: whoever may write could add any number. */
const mostReferrers = 64;
const emptyConfig = Buffer.from('{}');

/** The tag that lists an image's referrers in a registry without the API (distribution spec 1.1, "Referrers Tag Schema"). */
export function referrersTag(digest: Digest): string {
  return `sha256-${hexOf(digest)}`;
}

/** The manifests of a type that name `digest` as their subject: from the API, else from the fallback tag. */
export async function referrersOf(
  repository: RegistryRepository,
  digest: Digest,
  artifactType: string,
  signal?: AbortSignal,
): Promise<readonly Descriptor[]> {
  const listed =
    (await repository.referrers(digest, signal)) ??
    (await fallbackIndex(repository, digest, signal)).manifests;
  return listed.filter((one) => one.artifactType === artifactType).slice(0, mostReferrers);
}

/**
 * Attaches an artifact to an image, which need not be there yet: so a reader that sees the image sees the artifact.
 * Where the registry lacks the API, the fallback tag is brought up to date; there is no conditional write for it, so
 * that it is read again afterwards.
 */
export async function attach(
  repository: RegistryRepository,
  subject: Descriptor,
  { artifactType, layers, annotations }: Artifact,
  signal?: AbortSignal,
): Promise<Descriptor> {
  const put = async (mediaType: string, bytes: Uint8Array): Promise<Descriptor> => {
    const descriptor = { mediaType, digest: digestOf(bytes), size: bytes.length };
    await repository.putBlob(descriptor, () => Readable.from([Buffer.from(bytes)]), { signal });
    return descriptor;
  };
  const { mediaType, digest, size } = subject;
  const manifest: Manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    artifactType,
    config: await put(mediaTypes.empty, emptyConfig),
    layers: await Promise.all(layers.map((layer) => put(layer.mediaType, layer.bytes))),
    subject: { mediaType, digest, size },
    annotations,
  };
  const bytes = Buffer.from(JSON.stringify(manifest));
  const own = digestOf(bytes);
  const descriptor = await repository.putManifest(own, bytes, mediaTypes.manifest, signal);
  if ((await repository.referrers(digest, signal)) === undefined)
    await list(repository, digest, { ...descriptor, artifactType, annotations }, signal);
  return descriptor;
}

/** Takes the artifacts of a type away from an image that is deleted. Their blobs are the registry's to collect. */
export async function detach(
  repository: RegistryRepository,
  digest: Digest,
  artifactType: string,
  signal?: AbortSignal,
): Promise<void> {
  const gone = await referrersOf(repository, digest, artifactType, signal);
  if (gone.length === 0) return;
  const tag = referrersTag(digest);
  const listed = await repository.head(tag, signal);
  if (listed) {
    const { manifests, ...index } = await fallbackIndex(repository, digest, signal);
    const kept = manifests.filter((one) => !gone.some((other) => other.digest === one.digest));
    const bytes = Buffer.from(JSON.stringify({ ...index, manifests: kept }));
    if (kept.length > 0) await repository.putManifest(tag, bytes, mediaTypes.index, signal);
    else await repository.deleteManifest(listed.digest, signal);
  }
  for (const one of gone) await repository.deleteManifest(one.digest, signal);
}

const tries = 10;

async function list(
  repository: RegistryRepository,
  digest: Digest,
  added: Descriptor,
  signal?: AbortSignal,
): Promise<void> {
  for (let attempt = 1; attempt <= tries; attempt++) {
    const { manifests, ...index } = await fallbackIndex(repository, digest, signal);
    if (manifests.some((one) => one.digest === added.digest)) return;
    const bytes = Buffer.from(JSON.stringify({ ...index, manifests: [...manifests, added] }));
    await repository.putManifest(referrersTag(digest), bytes, mediaTypes.index, signal);
  }
  throw new OciError(
    'unavailable',
    `${repository.name}: others kept writing the list of referrers of ${digest}.`,
  );
}

async function fallbackIndex(
  repository: RegistryRepository,
  digest: Digest,
  signal?: AbortSignal,
): Promise<ImageIndex> {
  const tag = referrersTag(digest);
  const found = await repository.manifest(tag, signal);
  const empty: ImageIndex = { schemaVersion: 2, mediaType: mediaTypes.index, manifests: [] };
  return found ? { ...empty, manifests: descriptorsIn(found.bytes, `${repository.name}:${tag}`) } : empty;
}

/** The manifests that an index lists. @throws OciError `malformed` */
export function descriptorsIn(bytes: Buffer, where: string): readonly Descriptor[] {
  let json: unknown;
  try {
    json = JSON.parse(bytes.toString('utf8'));
  } catch {
    json = undefined;
  }
  const { manifests } = (json ?? {}) as { manifests?: unknown };
  if (!Array.isArray(manifests)) throw new OciError('malformed', `${where} is no index of referrers.`);
  return manifests.filter(
    (one): one is Descriptor =>
      typeof one === 'object' &&
      one !== null &&
      /^sha256:[0-9a-f]{64}$/.test(String((one as Descriptor).digest)) &&
      Number.isSafeInteger((one as Descriptor).size),
  );
}
