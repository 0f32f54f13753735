/** The only error that this package throws for bad input or a graph that cannot be run. */
export class JobGraphError extends Error {
  override readonly name = 'JobGraphError';
  /**
   * @param kind `input`: what was given is wrong; `missing`: something needed is not there; `failed`: the work failed
   * @param code stable and machine-readable, for example `cycle`
   * @param hint what to do about it
   */
  constructor(
    readonly kind: 'input' | 'missing' | 'failed',
    readonly code: string,
    message: string,
    readonly hint?: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}
