/** Why an image could not be assembled. */
export class ImageError extends Error {
  override readonly name = 'ImageError';
  constructor(
    /** `input`: the stack, mirror or option is bad; `missing`: something that is needed is not there; `failed`: the work is. */
    readonly kind: 'input' | 'missing' | 'failed',
    message: string,
    readonly hint?: string,
    options?: ErrorOptions,
  ) {
    super(hint ? `${message} ${hint}` : message, options);
  }
}
