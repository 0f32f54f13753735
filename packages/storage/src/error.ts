/** Why a store could not do what was asked. */
export type StorageErrorCode =
  /** There is no object of this key. */
  | 'not-found'
  /** A precondition did not hold: the object is there already, or another writer replaced it. */
  | 'precondition'
  /** The credentials are missing, wrong, or do not allow this. */
  | 'denied'
  /** The server could not be reached or kept failing. */
  | 'unavailable'
  /** Fewer or other bytes came than were announced. */
  | 'truncated'
  /** This kind of store cannot do this. */
  | 'unsupported'
  /** The URL or the key is no valid one. */
  | 'invalid';

const kinds: Record<StorageErrorCode, 'input' | 'missing' | 'failed'> = {
  'not-found': 'failed',
  precondition: 'failed',
  denied: 'missing',
  unavailable: 'missing',
  truncated: 'failed',
  unsupported: 'input',
  invalid: 'input',
};

/** The only error that this package throws, but for an `AbortError` when the caller's signal fires. */
export class StorageError extends Error {
  override readonly name = 'StorageError';
  /** `input`: bad input; `missing`: something needed is not there; `failed`: the work failed. */
  readonly kind: 'input' | 'missing' | 'failed';
  readonly hint: string | undefined;

  constructor(
    readonly code: StorageErrorCode,
    message: string,
    readonly details: {
      readonly store?: string;
      readonly key?: string;
      readonly status?: number;
      /** Whether the same request may succeed later. */
      readonly transient?: boolean;
      /** Whether each further attempt takes long or has little hope. */
      readonly costly?: boolean;
      /** How often it was tried, when it was more than once. */
      readonly attempts?: number;
      /** Seconds that the server asked to wait. */
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

/** The error that is thrown after several attempts. */
export function gaveUp(error: Error, attempts: number): Error {
  if (!(error instanceof StorageError)) return error;
  const details = { ...error.details, attempts };
  return new StorageError(error.code, `${error.message} Tried ${attempts} times.`, details, { cause: error });
}

/** Whether `error` says that an object is not there. */
export function isNotFound(error: unknown): boolean {
  return error instanceof StorageError && error.code === 'not-found';
}

/** Whether `error` says that a precondition did not hold. */
export function isPreconditionFailed(error: unknown): boolean {
  return error instanceof StorageError && error.code === 'precondition';
}
