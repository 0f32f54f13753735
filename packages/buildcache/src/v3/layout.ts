import type { Digest } from '@stackwright/oci';
import { fileNameOf, type PackageRef } from '../package-ref.js';

/** Keys of the v3 layout, relative to the mirror's root. */
export const v3 = {
  layout: 'v3/layout.json',
  specs: 'v3/manifests/spec/',
  index: 'v3/manifests/index/index.manifest.json',
  indexes: 'v3/manifests/index/',
  /** The manifest of an index view (Spack 1.2, pull requests #51213 and #51817). */
  view: (name: string) => `v3/manifests/index/${name}/index.manifest.json`,
  keys: 'v3/manifests/key/',
  keyIndex: 'v3/manifests/key/keys.manifest.json',
  blobs: 'blobs/',
  key: (fingerprint: string) => `v3/manifests/key/${fingerprint}.key.manifest.json`,
  spec: (ref: PackageRef) => `v3/manifests/spec/${ref.name}/${fileNameOf(ref)}.spec.manifest.json`,
  blob: (digest: Digest) => {
    const checksum = checksumOf(digest);
    return `blobs/sha256/${checksum.slice(0, 2)}/${checksum}`;
  },
} as const;

/** Spack's media types of blobs, but those that have a version: see `specType` and `databaseType`. */
export const mediaType = {
  tarball: 'application/vnd.spack.install.v2.tar+gzip',
  key: 'application/pgp-keys',
  keyIndex: 'application/vnd.spack.keyindex.v1+json',
} as const;

/** `layout.json`, which Spack also writes for unsigned mirrors. */
export const layoutJson = '{"signing": "gpg"}';

/** The media type of a spec's blob, by the version of its spec file. Older ones than 5 are in files of type 5 too. */
export function specType(version: number): string {
  return `application/vnd.spack.spec.v${Math.max(version, 5)}+json`;
}

export const specTypes: readonly string[] = [5, 6].map(specType);

/** Whether a blob is a spec, of a version that is known or not. */
export function isSpecType(type: string): boolean {
  return /^application\/vnd\.spack\.spec\.v\d+\+json$/.test(type);
}

/** Versions of databases that can be read and written: Spack up to 1.2 reads 8 only. */
export type DatabaseVersion = 8 | 9;

/** The media type of an index's blob, by the version of its database. */
export function databaseType(version: DatabaseVersion): string {
  return `application/vnd.spack.db.v${version}+json`;
}

export function isDatabaseType(type: string): boolean {
  return /^application\/vnd\.spack\.db\.v\d+\+json$/.test(type);
}

/** A digest as Spack writes it in manifests and keys: lower-case hexadecimal alone. */
export function checksumOf(digest: Digest): string {
  return digest.slice('sha256:'.length);
}

/** The digest that Spack writes as `checksum`. */
export function digestOfChecksum(checksum: string): Digest {
  return `sha256:${checksum}`;
}

/** The digest of the blob that a key names; undefined for a key of another kind. */
export function digestOfKey(key: string): Digest | undefined {
  const checksum = /^blobs\/sha256\/[0-9a-f]{2}\/([0-9a-f]{64})$/.exec(key)?.[1];
  return checksum === undefined ? undefined : digestOfChecksum(checksum);
}

/** Whether a text can name an index view: it is part of a key. */
export function isViewName(text: string): boolean {
  return /^\w[\w.+-]*(\/\w[\w.+-]*)*$/.test(text) && !text.endsWith('.json');
}

/** The index view whose manifest a key names; undefined for a key of another kind. */
export function viewOfKey(key: string): string | undefined {
  const name = /^v3\/manifests\/index\/(.+)\/index\.manifest\.json$/.exec(key)?.[1];
  return name !== undefined && isViewName(name) ? name : undefined;
}

const specKey = /^v3\/manifests\/spec\/([^/]+)\/(.+)-([a-z2-7]{32})\.spec\.manifest\.json$/;

/** The package that a manifest's key names; undefined for a key of another kind. */
export function packageOfKey(key: string): PackageRef | undefined {
  const match = specKey.exec(key);
  if (!match) return undefined;
  const [, name, stem, hash] = match as unknown as [string, string, string, string];
  if (!stem.startsWith(`${name}-`)) return undefined;
  return { name, version: stem.slice(name.length + 1), hash };
}
