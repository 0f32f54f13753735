/** Why something could not be reported. */
export type CdashErrorCode =
  /** CDash refuses the token, or the token may not do this. */
  | 'denied'
  /** CDash has no such project. */
  | 'no-project'
  /** CDash read the file and does not take it. */
  | 'refused'
  /** The server could not be reached or kept failing. */
  | 'unavailable'
  /** The connection broke after the file was sent: CDash may have taken it or not. */
  | 'unknown-outcome'
  /** A name, URL or report that cannot be sent. */
  | 'invalid';

const kinds: Record<CdashErrorCode, 'input' | 'missing' | 'failed'> = {
  denied: 'missing',
  'no-project': 'input',
  refused: 'failed',
  unavailable: 'missing',
  'unknown-outcome': 'failed',
  invalid: 'input',
};

/** The only error that this package throws, but for an `AbortError` when the caller's signal fires. */
export class CdashError extends Error {
  override readonly name = 'CdashError';
  /** `input`: bad input; `missing`: something needed is not there; `failed`: the work failed. */
  readonly kind: 'input' | 'missing' | 'failed';
  readonly hint: string | undefined;

  constructor(
    readonly code: CdashErrorCode,
    message: string,
    readonly details: { readonly status?: number; readonly file?: string; readonly hint?: string } = {},
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.kind = kinds[code];
    this.hint = details.hint;
  }
}
