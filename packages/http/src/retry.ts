import { setTimeout as sleep } from 'node:timers/promises';

// Not on p-retry: it knows no Retry-After, and its pauses cannot be used for transfers that go on where they broke off.

export interface RetryPolicy {
  /** How often one request is made at most. */
  readonly attempts: number;
  /** Milliseconds before the second attempt; doubles with each, up to `longest`. */
  readonly first: number;
  readonly longest: number;
}

export const defaultRetry: RetryPolicy = { attempts: 7, first: 200, longest: 10_000 };

/** Attempts at what takes long each time or has little hope: time-outs, and servers that have never answered. */
const fewAttempts = 3;
/** Milliseconds that `Retry-After` is honoured at most. */
const longestAsked = 60_000;

/** Errors of this workspace's packages, which say by themselves whether another attempt makes sense. */
interface Retriable extends Error {
  readonly details: {
    readonly transient?: boolean;
    readonly costly?: boolean;
    readonly attempts?: number;
    /** Seconds. */
    readonly retryAfter?: number;
  };
}

export interface RetryOptions {
  readonly signal?: AbortSignal;
  /** Whether an error that is transient is worth another attempt; all are when left out. */
  readonly again?: (error: Error) => boolean;
  /** Told before each pause. @param delay milliseconds */
  readonly onRetry?: (attempt: number, delay: number, error: Error) => void;
  /** Makes the error that is thrown after several attempts from the last one. */
  readonly gaveUp?: (error: Error, attempts: number) => Error;
}

/**
 * Does `work` until it succeeds or another attempt makes no sense: the error has no `details.transient`, or the
 * attempts are used up. An error with `details.attempts` was retried further down and is not tried again.
 * @param work gets the number of the attempt, from 1
 * @throws what `work` threw last, or what `gaveUp` made of it
 */
export async function retrying<T>(
  policy: RetryPolicy,
  work: (attempt: number) => Promise<T>,
  { signal, again = () => true, onRetry, gaveUp = (error) => error }: RetryOptions = {},
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    signal?.throwIfAborted();
    try {
      return await work(attempt);
    } catch (error) {
      signal?.throwIfAborted();
      if (!isTransient(error) || error.details.attempts !== undefined) throw error;
      if (attempt >= attemptsFor(error, policy) || !again(error)) {
        throw attempt > 1 ? gaveUp(error, attempt) : error;
      }
      const delay = backOff(policy, attempt) + Math.min((error.details.retryAfter ?? 0) * 1000, longestAsked);
      onRetry?.(attempt, delay, error);
      await sleep(delay, undefined, { signal });
    }
  }
}

/** Milliseconds to wait after `attempt` (from 1) failed: half fixed, half random, so that many do not come at once. */
export function backOff(policy: RetryPolicy, attempt: number, random: () => number = Math.random): number {
  const ceiling = Math.min(policy.longest, policy.first * 2 ** (attempt - 1));
  return Math.round(ceiling / 2 + (random() * ceiling) / 2);
}

/** How often what failed with `error` is tried at most. */
export function attemptsFor(error: Retriable, policy: RetryPolicy): number {
  return error.details.costly ? Math.min(fewAttempts, policy.attempts) : policy.attempts;
}

/** Whether an error of this workspace's packages says that the same request may succeed later. */
export function isTransient(error: unknown): error is Retriable {
  if (!(error instanceof Error) || !('details' in error)) return false;
  const { details } = error;
  return (
    typeof details === 'object' && details !== null && 'transient' in details && details.transient === true
  );
}

/** Whether an HTTP status says that the same request may succeed later. */
export function isTransientStatus(status: number): boolean {
  return status === 408 || status === 425 || status === 429 || (status >= 500 && status !== 501);
}

/** Seconds of a `Retry-After` header, which is a number of seconds or a date (RFC 9110, 10.2.3). */
export function retryAfterOf(header: string | undefined, now = Date.now()): number | undefined {
  if (!header) return undefined;
  if (/^\d+$/.test(header.trim())) return Number(header);
  // A date starts with the day of the week. Date.parse would take almost anything for one.
  const seconds = /^[A-Z]/i.test(header) ? (Date.parse(header) - now) / 1000 : Number.NaN;
  return Number.isNaN(seconds) ? undefined : Math.max(0, seconds);
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
  'ERR_STREAM_PREMATURE_CLOSE',
]);

/** Whether an error of a socket or a client, or one of its causes, is of a kind that passes. */
export function isTransientCause(error: unknown): boolean {
  return (
    codesOf(error).some((code) => transientCodes.has(code) || code.startsWith('HPE_')) || endedEarly(error)
  );
}

function endedEarly(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause) {
    // undici's parser leaves out the code of some of its errors.
    if (at.name === 'TimeoutError' || at.name === 'HTTPParserError') return true;
    if (/socket hang up|terminated|aborted|other side closed/i.test(at.message)) return true;
  }
  return false;
}

/** The system's codes of an error, its causes, and the errors that it joins. */
export function codesOf(error: unknown): string[] {
  if (!(error instanceof Error)) return [];
  const own = 'code' in error && typeof error.code === 'string' ? [error.code] : [];
  const joined = error instanceof AggregateError ? error.errors.flatMap(codesOf) : [];
  return [...own, ...joined, ...codesOf(error.cause)];
}
