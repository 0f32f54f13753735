/** What is wrong, as a word that programs can tell apart. */
export type BuildcacheErrorCode =
  /** Nothing at this address looks like a mirror. */
  | 'not-a-mirror'
  /** The mirror has no binary of the package. */
  | 'missing-package'
  /** The mirror lacks a blob that a manifest names. */
  | 'missing-blob'
  /** The mirror has no index. */
  | 'missing-index'
  /** A spec is of a version that a newer Spack wrote and that is not known here. */
  | 'newer'
  /** A manifest is broken, or of an unknown version. */
  | 'manifest'
  /** The package that was found is not the one that was asked for. */
  | 'wrong-package'
  /** The statement in a manifest contradicts the package or its tarball, or is broken. */
  | 'statement'
  /** A node's dag hash does not follow from its content. */
  | 'dag-hash'
  /** A spec is broken, or of an unknown version. */
  | 'spec'
  /** The name of an index view is not valid. */
  | 'view-name'
  /** An index view of this name exists. */
  | 'view-exists'
  /** The mirror has no index view of this name. */
  | 'missing-view'
  /** The index is broken. */
  | 'index'
  /** The mirror has the old layout v2. */
  | 'layout'
  /** A blob has other bytes than its manifest says. */
  | 'checksum'
  /** A blob has more or fewer bytes than its manifest says. */
  | 'length'
  /** A package is not signed. */
  | 'signature-missing'
  /** A signature does not match what was signed. */
  | 'signature-wrong'
  /** An index went back, or was signed longer ago than allowed. */
  | 'index-old'
  /** An index is not signed, and has to be. */
  | 'index-unsigned'
  /** A package was signed longer ago than allowed, or does not say when. */
  | 'signature-old'
  /** A signature has expired. */
  | 'signature-expired'
  /** A package is signed by a key that is not trusted. */
  | 'signature-untrusted'
  /** A signature is of a kind that can be forged: SHA-1, DSA, short keys. */
  | 'signature-weak'
  /** A signature is of a kind that cannot be verified here. */
  | 'signature-unsupported'
  /** The signing key has expired. */
  | 'key-expired'
  /** The signing key was revoked. */
  | 'key-revoked'
  /** The key that signed is not meant for signing. */
  | 'key-usage'
  /** A key cannot be read or cannot be used. */
  | 'key'
  /** The signing key is protected and no passphrase was given. */
  | 'passphrase-missing'
  /** The passphrase of the signing key is wrong. */
  | 'passphrase'
  /** The program gpg or a key of it is missing. */
  | 'gpg-missing'
  /** The program gpg failed. */
  | 'gpg'
  /** A package's tarball is broken, or not one of Spack's. */
  | 'tarball'
  /** An entry of a tarball leaves its place. */
  | 'tar-path'
  /** An entry of a tarball is of a kind that no package may have. */
  | 'tar-type'
  /** A tarball holds more than it may. */
  | 'tar-size'
  /** A file cannot be relocated to the new prefix. */
  | 'relocation'
  /** A folder is no install tree, or no installed package. */
  | 'install-tree'
  /** A prefix changed while it was packed. */
  | 'tree-changed'
  /** Compressed bytes are broken, or unpack to too much. */
  | 'compression'
  /** Others kept writing the same object. */
  | 'conflict'
  /** This kind of mirror cannot do this. */
  | 'unsupported';

type ErrorKind = 'input' | 'missing' | 'failed';

/** Codes that are not about bad input. */
const kinds: Partial<Record<BuildcacheErrorCode, ErrorKind>> = {
  'not-a-mirror': 'missing',
  'missing-package': 'missing',
  'missing-index': 'missing',
  'missing-view': 'missing',
  'passphrase-missing': 'missing',
  'gpg-missing': 'missing',
  gpg: 'failed',
  relocation: 'failed',
  'tree-changed': 'failed',
  conflict: 'failed',
};

/** The error that this package throws, but for those of the stores and registries and an `AbortError`. */
export class BuildcacheError extends Error {
  override readonly name = 'BuildcacheError';
  /** `input`: bad data or usage, what a mirror holds included; `missing`: something needed is not there; `failed`: the work failed. */
  readonly kind: ErrorKind;
  /** What to do; not part of the message. */
  readonly hint: string | undefined;

  constructor(
    readonly code: BuildcacheErrorCode,
    message: string,
    readonly details: {
      /** `NAME@VERSION/HASH7` */
      readonly package?: string;
      readonly mirror?: string;
      readonly key?: string;
      readonly file?: string;
      readonly fingerprint?: string;
      readonly hint?: string;
    } = {},
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.kind = kinds[code] ?? 'input';
    this.hint = details.hint;
  }
}

/** Whether `error` has this code. */
export function hasCode(error: unknown, ...codes: BuildcacheErrorCode[]): error is BuildcacheError {
  return error instanceof BuildcacheError && codes.includes(error.code);
}

/**
 * Whether `error` says that a signature is missing or does not count: nothing was tampered with, but nobody trusted
 * vouches for it.
 */
export function isUnvouched(error: unknown): error is BuildcacheError {
  return hasCode(
    error,
    'signature-missing',
    'signature-untrusted',
    'signature-expired',
    'signature-old',
    'signature-weak',
    'signature-unsupported',
    'key-expired',
    'key-revoked',
    'key-usage',
  );
}
