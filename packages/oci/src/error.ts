/** Why something about an image, a layout or a registry did not work. */
export type OciErrorCode =
  /** A reference, digest or address that is not valid. */
  | 'invalid'
  /** There is no such image, platform, blob or layout. */
  | 'not-found'
  /** The content is not what the specification asks for: no JSON, no image, an unknown version. */
  | 'malformed'
  /** The content has another digest or length than was promised. */
  | 'mismatch'
  /** A manifest, a configuration or an answer is larger than it may be. */
  | 'too-large'
  /** The credentials are missing, wrong, or do not allow this. */
  | 'denied'
  /** The registry understands the request and does not accept it. */
  | 'refused'
  /** The registry could not be reached, kept failing, or did not answer in time. */
  | 'unavailable';

const kinds: Record<OciErrorCode, 'input' | 'missing' | 'failed'> = {
  invalid: 'input',
  'not-found': 'input',
  malformed: 'input',
  mismatch: 'input',
  'too-large': 'input',
  denied: 'missing',
  refused: 'input',
  unavailable: 'missing',
};

/** The only error that this package throws, but for an `AbortError` when the caller's signal fires. */
export class OciError extends Error {
  override readonly name = 'OciError';
  /** `input`: bad input; `missing`: something needed is not there; `failed`: the work failed. */
  readonly kind: 'input' | 'missing' | 'failed';
  readonly hint: string | undefined;

  constructor(
    readonly code: OciErrorCode,
    message: string,
    readonly details: {
      readonly reference?: string;
      readonly status?: number;
      /** Whether the same may succeed later. */
      readonly transient?: boolean;
      /** Whether each further attempt takes long or has little hope. */
      readonly costly?: boolean;
      /** How often it was tried, when it was more than once. */
      readonly attempts?: number;
      /** Seconds that the registry asked to wait. */
      readonly retryAfter?: number;
      readonly hint?: string;
    } = {},
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.kind = kinds[code];
    this.hint = details.hint;
  }
}
