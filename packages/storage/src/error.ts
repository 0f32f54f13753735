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
  /** What the runner maps to an exit code. */
  readonly kind: 'input' | 'missing' | 'failed';

  constructor(
    readonly code: StorageErrorCode,
    message: string,
    readonly details: {
      readonly store?: string;
      readonly key?: string;
      readonly status?: number;
      /** Whether the same request may succeed later. */
      readonly transient?: boolean;
      /** How often it was tried, when it was more than once. */
      readonly attempts?: number;
      /** Seconds that the server asked to wait. */
      readonly retryAfter?: number;
      readonly hint?: string;
    } = {},
    options?: ErrorOptions,
  ) {
    super(details.hint ? `${message} ${details.hint}` : message, options);
    this.kind = kinds[code];
  }
}

/** Whether `error` says that an object is not there. */
export function isNotFound(error: unknown): boolean {
  return error instanceof StorageError && error.code === 'not-found';
}

/** Whether `error` says that a precondition did not hold. */
export function isPreconditionFailed(error: unknown): boolean {
  return error instanceof StorageError && error.code === 'precondition';
}
