import { Readable } from 'node:stream';
import { isPreconditionFailed } from '@stackwright/storage';
import pLimit from 'p-limit';
import { BuildcacheError, isUnvouched } from '../error.js';
import type { MirrorPackage, PackageMirror } from '../mirror.js';
import { describe, mediaType, type PackageRef, v3 } from '../package-ref.js';
import { isSigned, type Signer, signedText } from '../sign/signature.js';
import { preparePush, publishKey, putBlob } from '../v3/push.js';
import type { Mirror, PackageManifest } from '../v3/reader.js';

export interface CopyOptions {
  /** Signs each manifest anew; left out: the signatures stay as they are. */
  readonly signer?: Signer;
  /** Copy also what is there. */
  readonly force?: boolean;
  /** Leave out packages that nobody trusted has signed, instead of failing on them. */
  readonly onlyTrusted?: boolean;
  readonly parallel?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number) => void;
}

export type CopyOutcome = 'copied' | 'present' | 'left-out';

/**
 * Copies packages from one mirror to another. What is read is verified by the source's policy, and every byte by its
 * checksum. Each package's manifest is written last.
 */
export async function copyPackages(
  from: PackageMirror,
  to: Mirror,
  refs: readonly PackageRef[],
  options: CopyOptions = {},
): Promise<{ outcomes: Map<string, CopyOutcome>; failed: { package: PackageRef; error: Error }[] }> {
  const limit = pLimit(options.parallel ?? 8);
  const outcomes = new Map<string, CopyOutcome>();
  const failed: { package: PackageRef; error: Error }[] = [];
  await Promise.all(
    refs.map((ref) =>
      limit(async () => {
        try {
          options.signal?.throwIfAborted();
          outcomes.set(ref.hash, await copyPackage(from, to, ref, options));
        } catch (error) {
          failed.push({ package: ref, error: error as Error });
        }
        options.onProgress?.(outcomes.size + failed.length, refs.length);
      }),
    ),
  );
  options.signal?.throwIfAborted();
  return { outcomes, failed };
}

async function copyPackage(
  from: PackageMirror,
  to: Mirror,
  ref: PackageRef,
  options: CopyOptions,
): Promise<CopyOutcome> {
  const { signal } = options;
  let taken: MirrorPackage;
  try {
    taken = await from.package(ref, signal);
  } catch (error) {
    if (options.onlyTrusted && isUnvouched(error)) return 'left-out';
    throw error;
  }
  const { manifest } = taken;
  if (!options.force && (await isThere(to, manifest, options))) return 'present';
  const tarball = {
    size: manifest.tarball.contentLength,
    open: () => lazily(() => from.tarball(manifest, signal)),
  };
  await putBlob(to, manifest.tarball.checksum, tarball, mediaType.tarball, signal);
  await putBlob(to, manifest.spec.checksum, taken.specBytes, mediaType.spec, signal);
  await preparePush(to, options.signer, signal);
  const text = options.signer
    ? await options.signer.sign(signedText(manifest.text, describe(ref)), signal)
    : manifest.text;
  await to.store.put(v3.spec(ref), Buffer.from(text), { contentType: 'application/json', signal });
  return 'copied';
}

/** Whether the same manifest, with its blobs, is there already. */
async function isThere(
  to: Mirror,
  manifest: PackageManifest,
  { signer, signal }: CopyOptions,
): Promise<boolean> {
  const signed = manifest.signed || signer !== undefined;
  try {
    const { manifest: there } = await to.withPolicy({ kind: 'unsigned' }).package(manifest, signal);
    if (there.tarball.checksum !== manifest.tarball.checksum || (signed && !there.signed)) return false;
    const blob = await to.store.head(v3.blob(there.tarball.checksum), { signal });
    return blob?.size === there.tarball.contentLength;
  } catch (error) {
    if (error instanceof BuildcacheError) return false;
    throw error;
  }
}

/** Copies the public keys that one mirror publishes to another. */
export async function copyKeys(from: PackageMirror, to: Mirror, signal?: AbortSignal): Promise<number> {
  const keys = await from.publishedKeys(signal);
  for (const key of keys) await publishKey(to, key.armor().replaceAll('\r\n', '\n'), signal);
  return keys.length;
}

/** A stream that opens when it is first read. */
function lazily(open: () => Promise<Readable>): Readable {
  const bytes = async function* () {
    yield* await open();
  };
  return Readable.from(bytes(), { objectMode: false });
}

/**
 * Signs packages anew: each is verified by the mirror's policy, then its manifest is clear-signed by `signer` and
 * replaced, unless another writer was there meanwhile.
 */
export async function signPackages(
  mirror: Mirror,
  refs: readonly PackageRef[],
  signer: Signer,
  options: Pick<CopyOptions, 'parallel' | 'signal' | 'onProgress'> = {},
): Promise<{ signed: PackageRef[]; present: PackageRef[]; failed: { package: PackageRef; error: Error }[] }> {
  const { signal } = options;
  const limit = pLimit(options.parallel ?? 8);
  const signed: PackageRef[] = [];
  const present: PackageRef[] = [];
  const failed: { package: PackageRef; error: Error }[] = [];
  await preparePush(mirror, signer, signal);
  await Promise.all(
    refs.map((ref) =>
      limit(async () => {
        try {
          signal?.throwIfAborted();
          const { manifest } = await mirror.package(ref, signal);
          if (manifest.signedBy === signer.fingerprint && isSigned(manifest.text)) present.push(ref);
          else {
            const text = await signer.sign(signedText(manifest.text, describe(ref)), signal);
            await mirror.store.put(manifest.key, Buffer.from(text), {
              contentType: 'application/json',
              ...(manifest.etag ? { precondition: { match: manifest.etag } } : {}),
              signal,
            });
            signed.push(ref);
          }
        } catch (error) {
          failed.push({
            package: ref,
            error: isPreconditionFailed(error)
              ? new BuildcacheError('failed', 'conflict', `${describe(ref)} was pushed anew meanwhile.`, {
                  package: describe(ref),
                  hint: 'Sign again.',
                })
              : (error as Error),
          });
        }
        options.onProgress?.(signed.length + present.length + failed.length, refs.length);
      }),
    ),
  );
  signal?.throwIfAborted();
  return { signed, present, failed };
}
