/** Why a request did not succeed. */
export type HttpErrorCode =
  /** The URL, a header or a setting such as `SSL_CERT_FILE` cannot be used. */
  | 'invalid'
  /** No connection: the name is unknown, nothing listens, TLS failed, or the proxy refused. */
  | 'unreachable'
  /** The connection broke before the answer was complete. */
  | 'broken-off'
  /** A time limit passed, or the answer came slower than the least speed. */
  | 'timeout'
  /** The answer is larger than the caller's limit. */
  | 'too-large'
  /** The server asks for credentials, or refuses those given (401, 403, 407). */
  | 'denied'
  /** The server answered with another status than the caller accepts. */
  | 'status'
  /** More redirects than are followed. */
  | 'too-many-redirects'
  /** The answer breaks HTTP, or is not the JSON that the caller expects. */
  | 'bad-answer';

const kinds: Record<HttpErrorCode, 'input' | 'missing' | 'failed'> = {
  invalid: 'input',
  unreachable: 'missing',
  'broken-off': 'missing',
  timeout: 'missing',
  'too-large': 'input',
  denied: 'missing',
  status: 'failed',
  'too-many-redirects': 'failed',
  'bad-answer': 'failed',
};

/** What is known about a request that failed. None of it holds a credential. */
export interface HttpErrorDetails {
  readonly method?: string;
  /** Without user, password and the values of the query. */
  readonly url?: string;
  /** What happened, without the URL and without a full stop, for messages of the caller's own. */
  readonly reason?: string;
  readonly status?: number;
  /** What the server itself says about the error: one line of at most 300 characters. */
  readonly said?: string;
  /** The header `WWW-Authenticate`. */
  readonly challenge?: string;
  /** False when the request certainly did not leave this machine. */
  readonly sent?: boolean;
  /** Whether the same request may succeed later. */
  readonly transient?: boolean;
  /** Whether each further attempt takes long or has little hope: only a few are made. */
  readonly costly?: boolean;
  /** How often it was tried, when it was more than once. */
  readonly attempts?: number;
  /** Seconds that the server asked to wait. */
  readonly retryAfter?: number;
  readonly hint?: string;
}

/** The only error that this package throws, but for the signal's own reason (an `AbortError`) once it fires. */
export class HttpError extends Error {
  override readonly name = 'HttpError';
  /** `input`: bad input; `missing`: something needed is not there; `failed`: the work failed. */
  readonly kind: 'input' | 'missing' | 'failed';
  readonly hint: string | undefined;

  constructor(
    readonly code: HttpErrorCode,
    message: string,
    readonly details: HttpErrorDetails = {},
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.kind = kinds[code];
    this.hint = details.hint;
  }
}
