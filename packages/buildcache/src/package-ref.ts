/** What names one package of a build cache. */
export interface PackageRef {
  readonly name: string;
  readonly version: string;
  /** The dag hash: 32 characters of base 32. */
  readonly hash: string;
}

/** Keys of the v3 layout, relative to the mirror's root. */
export const v3 = {
  layout: 'v3/layout.json',
  specs: 'v3/manifests/spec/',
  index: 'v3/manifests/index/index.manifest.json',
  keys: 'v3/manifests/key/',
  keyIndex: 'v3/manifests/key/keys.manifest.json',
  blobs: 'blobs/',
  key: (fingerprint: string) => `v3/manifests/key/${fingerprint}.key.manifest.json`,
  spec: (ref: PackageRef) => `v3/manifests/spec/${ref.name}/${manifestName(ref)}.spec.manifest.json`,
  blob: (checksum: string) => `blobs/sha256/${checksum.slice(0, 2)}/${checksum}`,
} as const;

export const mediaType = {
  tarball: 'application/vnd.spack.install.v2.tar+gzip',
  spec: 'application/vnd.spack.spec.v5+json',
  index: 'application/vnd.spack.db.v8+json',
  key: 'application/pgp-keys',
  keyIndex: 'application/vnd.spack.keyindex.v1+json',
} as const;

/** `layout.json`, which Spack also writes for unsigned mirrors. */
export const layoutJson = '{"signing": "gpg"}';

const hashPattern = /^[a-z2-7]{32}$/;
const specKey = /^v3\/manifests\/spec\/([^/]+)\/(.+)-([a-z2-7]{32})\.spec\.manifest\.json$/;

/** The package that a manifest's key names; undefined for a key of another kind. */
export function packageOfKey(key: string): PackageRef | undefined {
  const match = specKey.exec(key);
  if (!match) return undefined;
  const [, name, stem, hash] = match as unknown as [string, string, string, string];
  if (!stem.startsWith(`${name}-`)) return undefined;
  return { name, version: stem.slice(name.length + 1), hash };
}

/** Whether two references mean one package; one that was read from a key has a version without what a key cannot hold. */
export function isSamePackage(a: PackageRef, b: PackageRef): boolean {
  return a.name === b.name && manifestName(a) === manifestName(b);
}

/** `NAME-VERSION-HASH` with what a file name cannot hold replaced, as Spack's `format_path` does. */
function manifestName(ref: PackageRef): string {
  return [ref.name, ref.version, ref.hash].map((part) => part.replace(/[/\\:*?"<>|\n\t\r]/g, '_')).join('-');
}

/** `NAME@VERSION/HASH7`, for people. */
export function describe(ref: PackageRef): string {
  return `${ref.name}@${ref.version}/${ref.hash.slice(0, 7)}`;
}

/** Whether a text is a dag hash. */
export function isHash(text: string): boolean {
  return hashPattern.test(text);
}

/** Whether a text can be a package's name: what stands in keys and paths. */
export function isName(text: string): boolean {
  return /^\w[\w.+-]*$/.test(text);
}
