/** Why Spack could not be found or did not do what it was asked. */
export class SpackError extends Error {
  override readonly name = 'SpackError';
  constructor(
    /** `missing`: there is no Spack (or git); `failed`: it ran and failed; `input`: what it was given is bad. */
    readonly kind: 'input' | 'missing' | 'failed',
    message: string,
    readonly details: { readonly hint?: string; readonly log?: string; readonly exitCode?: number } = {},
    options?: ErrorOptions,
  ) {
    super(details.hint ? `${message}\n${details.hint}` : message, options);
  }
}
