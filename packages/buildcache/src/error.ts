/** What is wrong, as a word that programs can tell apart. */
export type BuildcacheErrorCode =
  | 'not-a-mirror'
  | 'missing-package'
  | 'missing-blob'
  | 'missing-index'
  | 'manifest'
  | 'wrong-package'
  | 'dag-hash'
  | 'spec'
  | 'index'
  | 'layout'
  | 'checksum'
  | 'length'
  | 'signature-missing'
  | 'signature-wrong'
  | 'signature-expired'
  | 'signature-untrusted'
  | 'signature-weak'
  | 'signature-unsupported'
  | 'key-expired'
  | 'key-revoked'
  | 'key-usage'
  | 'key'
  | 'passphrase'
  | 'gpg'
  | 'tarball'
  | 'tar-path'
  | 'tar-type'
  | 'tar-size'
  | 'relocation'
  | 'install-tree'
  | 'compression'
  | 'conflict'
  | 'unsupported';

/** The error of this package: what, where and what to do, each also as data. */
export class BuildcacheError extends Error {
  override readonly name = 'BuildcacheError';

  constructor(
    /** `input`: bad data or usage, what a mirror holds included; `missing`: something needed is not there; `failed`: the work failed. */
    readonly kind: 'input' | 'missing' | 'failed',
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
    super(details.hint ? `${message} ${details.hint}` : message, options);
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
    'signature-weak',
    'signature-unsupported',
    'key-expired',
    'key-revoked',
    'key-usage',
  );
}
