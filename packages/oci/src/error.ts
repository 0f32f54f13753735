/** What went wrong with an image, a layout or a registry. */
export class OciError extends Error {
  override readonly name = 'OciError';
  constructor(
    /** `input`: the data or reference is bad; `missing`: a server or credential is; `failed`: the work is. */
    readonly kind: 'input' | 'missing' | 'failed',
    message: string,
    readonly details: { readonly hint?: string; readonly status?: number; readonly reference?: string } = {},
    options?: ErrorOptions,
  ) {
    super(details.hint ? `${message} ${details.hint}` : message, options);
  }
}
