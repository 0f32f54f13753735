import { Readable } from 'node:stream';
import { isPreconditionFailed } from '@stackwright/storage';
import pLimit from 'p-limit';
import { BuildcacheError, isUnvouched } from '../error.js';
import { readCheckedFacts } from '../layer-facts.js';
import type { MirrorPackage, MirrorReader, PackageManifest } from '../mirror.js';
import type {
  CopyOptions,
  CopyOutcome,
  CopyResult,
  PackageFailure,
  SignOptions,
  SignResult,
} from '../mirror-writer.js';
import { describe, type PackageRef } from '../package-ref.js';
import { signEach } from '../sign/each.js';
import { type Signer, signedText } from '../sign/signature.js';
import { checkStatedTarball, type Statement, statementOf, timeOf } from '../statement.js';
import { mediaType, v3 } from './layout.js';
import { formatManifest, packageManifest, withStatement } from './manifest.js';
import { preparePush, putBlob } from './push.js';
import type { V3Reader } from './reader.js';

/**
 * Copies packages from one mirror to another. What is read is verified by the source's policy, and every byte by its
 * checksum. Each package's manifest is written last.
 */
export async function copyPackages(
  from: MirrorReader,
  to: V3Reader,
  refs: readonly PackageRef[],
  options: CopyOptions = {},
): Promise<CopyResult> {
  const limit = pLimit(options.parallel ?? 8);
  const outcomes = new Map<string, CopyOutcome>();
  const failed: PackageFailure[] = [];
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
  from: MirrorReader,
  to: V3Reader,
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
  const tarball = { size: manifest.tarball.size, open: () => lazily(() => from.tarball(manifest, signal)) };
  await putBlob(to, manifest.tarball, tarball, mediaType.tarball, signal);
  await putBlob(to, manifest.spec, taken.specBytes, manifest.spec.mediaType, signal);
  await preparePush(to, options.signer, signal);
  const near = to.folder === undefined ? from : to;
  if (!options.signer) await checkBound(manifest, near, signal);
  const text = await manifestText(manifest, near, options);
  await to.store.put(v3.spec(ref), Buffer.from(text), { contentType: 'application/json', signal });
  return 'copied';
}

/**
 * Checks that the tarball is that of the package, where no trusted signature binds the two.
 * @throws BuildcacheError
 */
async function checkBound(
  manifest: PackageManifest,
  mirror: MirrorReader,
  signal?: AbortSignal,
): Promise<void> {
  if (manifest.signedBy !== undefined) return;
  const open = () => mirror.tarball(manifest, signal);
  checkStatedTarball(manifest, manifest.statement, await readCheckedFacts(open, describe(manifest), signal));
}

/** The manifest as it is written: that of the source where it has one, signed anew if asked. */
export async function manifestText(
  manifest: PackageManifest,
  mirror: MirrorReader,
  { signer, time, signal }: Pick<CopyOptions, 'signer' | 'time' | 'signal'>,
): Promise<string> {
  const text = manifest.text ?? formatManifest(packageManifest(manifest.tarball, manifest.spec));
  if (!signer) return text;
  const plain = signedText(text, describe(manifest));
  return signer.sign(withStatement(plain, await statementFor(manifest, mirror, time, signal)), signal);
}

/**
 * The statement to sign: the one that a trusted key has signed before, with the time of now; else one that is made of the
 * tarball, which is read and checked.
 */
async function statementFor(
  manifest: PackageManifest,
  mirror: MirrorReader,
  time: Date | undefined,
  signal?: AbortSignal,
): Promise<Statement> {
  if (manifest.statement && manifest.signedBy !== undefined)
    return { ...manifest.statement, time: timeOf(time) };
  const what = describe(manifest);
  const facts = await readCheckedFacts(() => mirror.tarball(manifest, signal), what, signal);
  checkStatedTarball(manifest, manifest.statement, facts);
  return statementOf(manifest, facts, time);
}

/** Whether the same manifest, with its blobs, is there already. */
export async function isThere(
  to: V3Reader,
  manifest: PackageManifest,
  { signer, signal }: CopyOptions,
): Promise<boolean> {
  const signed = manifest.signed || signer !== undefined;
  try {
    const { manifest: there } = await to.withPolicy({ kind: 'unsigned' }).package(manifest, signal);
    if (there.tarball.digest !== manifest.tarball.digest || (signed && !there.signed)) return false;
    if (signer && !there.statement) return false;
    const blob = await to.store.head(v3.blob(there.tarball.digest), { signal });
    return blob?.size === there.tarball.size;
  } catch (error) {
    if (error instanceof BuildcacheError) return false;
    throw error;
  }
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
  mirror: V3Reader,
  refs: readonly PackageRef[],
  signer: Signer,
  options: SignOptions = {},
): Promise<SignResult> {
  const { signal } = options;
  await preparePush(mirror, signer, signal);
  return signEach(refs, signer, options, {
    read: (ref) => mirror.package(ref, signal),
    write: async ({ manifest }) => {
      const text = await manifestText(manifest, mirror, { ...options, signer });
      await mirror.store.put(manifest.key, Buffer.from(text), {
        contentType: 'application/json',
        precondition: manifest.etag ? { match: manifest.etag } : undefined,
        signal,
      });
    },
    describeFailure: (ref, error) =>
      isPreconditionFailed(error)
        ? new BuildcacheError('conflict', `${describe(ref)} was pushed anew meanwhile.`, {
            package: describe(ref),
            hint: 'Sign again.',
          })
        : error,
  });
}
