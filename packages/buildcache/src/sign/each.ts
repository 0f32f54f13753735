import pLimit from 'p-limit';
import type { PackageManifest } from '../mirror.js';
import type { PackageFailure, SignOptions, SignResult } from '../mirror-writer.js';
import type { PackageRef } from '../package-ref.js';
import type { Signer } from './signature.js';

/**
 * Signs packages of a mirror of any kind anew, several at a time: each is verified by the mirror's policy first, and one
 * that `signer` has signed already, with a statement, stays.
 * @param read takes a package by the mirror's policy
 * @param write makes the signature and puts it where the mirror keeps it
 * @param describeFailure turns what `write` throws into what is reported
 */
export async function signEach<Read extends { readonly manifest: PackageManifest }>(
  refs: readonly PackageRef[],
  signer: Signer,
  { signal, parallel = 8, onProgress }: SignOptions,
  {
    read,
    write,
    describeFailure = (_ref, error) => error,
  }: {
    readonly read: (ref: PackageRef) => Promise<Read>;
    readonly write: (found: Read) => Promise<void>;
    readonly describeFailure?: (ref: PackageRef, error: Error) => Error;
  },
): Promise<SignResult> {
  const limit = pLimit(parallel);
  const signed: PackageRef[] = [];
  const present: PackageRef[] = [];
  const failed: PackageFailure[] = [];
  const signOne = async (ref: PackageRef) => {
    try {
      signal?.throwIfAborted();
      const found = await read(ref);
      const { signedBy, statement } = found.manifest;
      if (signedBy === signer.fingerprint && statement) present.push(ref);
      else {
        await write(found);
        signed.push(ref);
      }
    } catch (error) {
      failed.push({ package: ref, error: describeFailure(ref, error as Error) });
    }
    onProgress?.(signed.length + present.length + failed.length, refs.length);
  };
  await Promise.all(refs.map((ref) => limit(signOne, ref)));
  signal?.throwIfAborted();
  return { signed, present, failed };
}
