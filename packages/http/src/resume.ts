import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { attemptsFor, backOff, isTransient, isTransientCause, type RetryPolicy } from './retry.js';

export interface ResumeOptions {
  readonly policy: RetryPolicy;
  readonly signal?: AbortSignal;
  /** Bytes that have to come; when left out, the body ends where the server ends it. */
  readonly size?: number;
  /** Told before each pause. */
  readonly onResume?: (offset: number, error: Error) => void;
  /** Makes the error that is thrown when several attempts in a row brought nothing. */
  readonly gaveUp?: (error: Error, attempts: number) => Error;
}

/** Attempts are counted anew after this many bytes: a server that breaks off after each byte is given up. */
const progress = 64 * 1024;

/**
 * A body that goes on where it broke off.
 * @param first the body from its start
 * @param open gives the body from an offset on
 * @throws what the body or `open` failed with last
 */
export async function* resumed(
  first: Readable,
  open: (offset: number) => Promise<Readable>,
  { policy, signal, size, onResume, gaveUp = (error) => error }: ResumeOptions,
): AsyncGenerator<Buffer> {
  let body = first;
  let offset = 0;
  let failures = 0;
  let failedAt = 0;
  for (;;) {
    try {
      for await (const chunk of body as AsyncIterable<Buffer>) {
        offset += chunk.length;
        yield chunk;
      }
      if (size === undefined || offset >= size) return;
      throw new EndedEarly(offset, size);
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof Error) || !passes(error)) throw error;
      failures = offset - failedAt >= progress ? 1 : failures + 1;
      failedAt = offset;
      if (failures >= attempts(error, policy)) throw failures > 1 ? gaveUp(error, failures) : error;
      onResume?.(offset, error);
      await sleep(backOff(policy, failures), undefined, { signal });
      body = await open(offset);
    }
  }
}

/** A body that ended, without an error, before all of it came. */
export class EndedEarly extends Error {
  constructor(came: number, size: number) {
    super(`${came} of ${size} bytes came`);
  }
}

function passes(error: Error): boolean {
  return error instanceof EndedEarly || isTransient(error) || isTransientCause(error);
}

function attempts(error: Error, policy: RetryPolicy): number {
  return isTransient(error) ? attemptsFor(error, policy) : policy.attempts;
}
