import type { SignaturePolicy } from '../mirror.js';
import { describe, type PackageRef } from '../package-ref.js';
import { signedText, verifySigned } from '../sign/signature.js';
import { checkStatedPackage, checkStatedTime, type Statement } from '../statement.js';
import { mediaType } from './layout.js';
import { type BlobRecord, findRecord, findSpec, parseManifest } from './manifest.js';

/** What a package's manifest says, its signature checked. */
export interface PackageRecords {
  /** The fingerprint of the trusted key that signed it; undefined when signatures were not looked at. */
  readonly signedBy: string | undefined;
  readonly statement: Statement | undefined;
  readonly records: { readonly tarball: BlobRecord; readonly spec: BlobRecord };
}

/**
 * Reads a package's manifest of layout v3: its signature by the policy, its statement by the package that it is to be of.
 * @throws BuildcacheError `manifest`, `newer`, `signature-…`, `key-…`, `wrong-package`, `statement`
 */
export async function readRecords(
  text: string,
  ref: PackageRef,
  {
    policy,
    mirror,
    key,
  }: { readonly policy: SignaturePolicy; readonly mirror: string; readonly key: string },
): Promise<PackageRecords> {
  const where = `${describe(ref)} (${key.split('/').at(-1)})`;
  const checked =
    policy.kind === 'trusted'
      ? await verifySigned(text, policy.trust, where, policy)
      : { text: signedText(text, where), fingerprint: undefined };
  const manifest = parseManifest(checked.text, where);
  const { stackwright: statement } = manifest;
  if (statement) checkStatedPackage(statement, ref, mirror, key);
  if (policy.kind === 'trusted') checkStatedTime(statement, policy.notBefore, where);
  return {
    signedBy: checked.fingerprint,
    statement,
    records: {
      tarball: findRecord(manifest, [mediaType.tarball], where),
      spec: findSpec(manifest, where),
    },
  };
}
