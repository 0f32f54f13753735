/** Why an image could not be assembled. */
export type ImageErrorCode =
  /** There is nothing to put into the image. */
  | 'no-packages'
  /** The base image cannot be built on. */
  | 'base'
  /** The base image is of another platform than the packages. */
  | 'platform'
  /** Programs of the image could not start in it. */
  | 'incomplete'
  /** No trusted key has signed where the image comes from. */
  | 'unproven'
  /** A file or user that the image is to get cannot be. */
  | 'own-files'
  /** A name of an image or a folder in it is no valid one. */
  | 'name'
  /** The mirror lacks packages of the image. */
  | 'missing-packages'
  /** The stack names no mirror for binaries. */
  | 'no-mirror'
  /** The stack has no lock. */
  | 'not-concretized';

type ErrorKind = 'input' | 'missing' | 'failed';

const kinds: Record<ImageErrorCode, ErrorKind> = {
  'no-packages': 'input',
  base: 'input',
  platform: 'input',
  incomplete: 'input',
  unproven: 'input',
  'own-files': 'input',
  name: 'input',
  'missing-packages': 'missing',
  'no-mirror': 'input',
  'not-concretized': 'input',
};

/** The error that this package throws, but for those of the mirror, the registry and an `AbortError`. */
export class ImageError extends Error {
  override readonly name = 'ImageError';
  /** `input`: the stack, mirror or option is bad; `missing`: something needed is not there; `failed`: the work failed. */
  readonly kind: ErrorKind;
  /** What to do; not part of the message. */
  readonly hint: string | undefined;

  constructor(
    readonly code: ImageErrorCode,
    message: string,
    readonly details: { readonly hint?: string } = {},
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.kind = kinds[code];
    this.hint = details.hint;
  }
}
