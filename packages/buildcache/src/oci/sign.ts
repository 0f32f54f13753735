import pLimit from 'p-limit';
import type { PackageFailure, SignOptions, SignResult } from '../mirror-writer.js';
import type { PackageRef } from '../package-ref.js';
import type { Signer } from '../sign/signature.js';
import { manifestText } from '../v3/copy.js';
import type { OciReader } from './reader.js';
import { attachSigned } from './signed-manifest.js';

/** Signs packages anew: each is verified by the mirror's policy, and the signature attached to its image. */
export async function signInRegistry(
  mirror: OciReader,
  refs: readonly PackageRef[],
  signer: Signer,
  options: SignOptions = {},
): Promise<SignResult> {
  const { signal } = options;
  const limit = pLimit(options.parallel ?? 8);
  const signed: PackageRef[] = [];
  const present: PackageRef[] = [];
  const failed: PackageFailure[] = [];
  const signOne = async (ref: PackageRef) => {
    try {
      signal?.throwIfAborted();
      const { manifest, specBytes } = await mirror.package(ref, signal);
      if (manifest.signedBy === signer.fingerprint && manifest.statement) present.push(ref);
      else {
        const text = await manifestText(manifest, mirror, { ...options, signer });
        await attachSigned(mirror.repository, manifest.image, { text, specBytes }, signal);
        signed.push(ref);
      }
    } catch (error) {
      failed.push({ package: ref, error: error as Error });
    }
    options.onProgress?.(signed.length + present.length + failed.length, refs.length);
  };
  await Promise.all(refs.map((ref) => limit(signOne, ref)));
  signal?.throwIfAborted();
  return { signed, present, failed };
}
