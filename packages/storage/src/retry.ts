import { setTimeout as sleep } from 'node:timers/promises';
import { StorageError } from './error.js';

export interface RetryPolicy {
  /** How often one request is made at most. */
  readonly attempts: number;
  /** Milliseconds before the second attempt; doubles with each, up to `longest`. */
  readonly first: number;
  readonly longest: number;
}

export const defaultRetry: RetryPolicy = { attempts: 7, first: 200, longest: 10_000 };

/** Milliseconds to wait after `attempt` (from 1) failed: half fixed, half random, so that many do not come at once. */
export function backOff(policy: RetryPolicy, attempt: number, random: () => number = Math.random): number {
  const ceiling = Math.min(policy.longest, policy.first * 2 ** (attempt - 1));
  return Math.round(ceiling / 2 + (random() * ceiling) / 2);
}

/**
 * Does `work` again while it fails with what may pass.
 * @param onRetry told before each wait
 */
export async function retrying<T>(
  policy: RetryPolicy,
  work: (attempt: number) => Promise<T>,
  options: {
    readonly signal?: AbortSignal;
    readonly onRetry?: (attempt: number, delay: number, error: StorageError) => void;
  } = {},
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    options.signal?.throwIfAborted();
    try {
      return await work(attempt);
    } catch (error) {
      options.signal?.throwIfAborted();
      // What was tried often enough further down is not tried anew.
      if (!isTransient(error) || error.details.attempts !== undefined || attempt >= policy.attempts) {
        if (isTransient(error) && error.details.attempts === undefined && attempt > 1) {
          throw new StorageError(
            error.code,
            `${error.message} Tried ${attempt} times.`,
            { ...error.details, hint: undefined, attempts: attempt },
            { cause: error },
          );
        }
        throw error;
      }
      const asked = (error.details.retryAfter ?? 0) * 1000;
      const delay = Math.max(backOff(policy, attempt), Math.min(asked, 60_000));
      options.onRetry?.(attempt, delay, error);
      await sleep(delay, undefined, { signal: options.signal });
    }
  }
}

/** Whether the same request may succeed later. */
export function isTransient(error: unknown): error is StorageError {
  return error instanceof StorageError && error.details.transient === true;
}

/** HTTP statuses that say: try again. */
export function isTransientStatus(status: number): boolean {
  return status === 408 || status === 425 || status === 429 || (status >= 500 && status !== 501);
}

const transientCodes = new Set([
  'ECONNRESET',
  'ECONNREFUSED',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'EAI_AGAIN',
  'ENETUNREACH',
  'EHOSTUNREACH',
  'UND_ERR_SOCKET',
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_BODY_TIMEOUT',
  'UND_ERR_RES_CONTENT_LENGTH_MISMATCH',
  'HPE_INVALID_CONSTANT',
]);

/** Whether a socket's or client's error is of the kind that passes. */
export function isTransientCause(error: unknown): boolean {
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    const { code, name, message } = at as Error & { code?: string };
    if (code !== undefined && (transientCodes.has(code) || code.startsWith('HPE_'))) return true;
    if (name === 'TimeoutError' || /socket hang up|terminated|aborted|other side closed/i.test(message))
      return true;
  }
  return false;
}
