import type { SignOptions, SignResult } from '../mirror-writer.js';
import type { PackageRef } from '../package-ref.js';
import { signEach } from '../sign/each.js';
import type { Signer } from '../sign/signature.js';
import { manifestText } from '../v3/copy.js';
import type { OciReader } from './reader.js';
import { attachSigned } from './signed-manifest.js';

/** Signs packages anew: each is verified by the mirror's policy, and the signature attached to its image. */
export function signInRegistry(
  mirror: OciReader,
  refs: readonly PackageRef[],
  signer: Signer,
  options: SignOptions = {},
): Promise<SignResult> {
  const { signal } = options;
  return signEach(refs, signer, options, {
    read: (ref) => mirror.package(ref, signal),
    write: async ({ manifest, specBytes }) => {
      const text = await manifestText(manifest, mirror, { ...options, signer });
      await attachSigned(mirror.repository, manifest.image, { text, specBytes }, signal);
    },
  });
}
