import { Readable } from 'node:stream';
import { EndedEarly, isTransient, isTransientCause, type RetryPolicy, resumed } from '@stackwright/http';
import { gaveUp, StorageError } from './error.js';
import type { StorageEvent, StoredObject } from './store.js';

/**
 * An object's bytes that go on where they broke off: the rest is asked for by range, as long as it is the same version.
 * @param open opens from `offset` bytes after the start of what was asked for
 */
export async function resuming(
  open: (offset: number) => Promise<StoredObject>,
  options: {
    readonly key: string;
    readonly policy: RetryPolicy;
    readonly signal?: AbortSignal;
    readonly onEvent?: (event: StorageEvent) => void;
  },
): Promise<StoredObject> {
  const { key, policy, signal } = options;
  const first = await open(0);
  let at = first;
  const reopen = async (offset: number) => {
    at = await open(offset);
    if (at.etag === first.etag) return at.body;
    at.body.destroy();
    throw new StorageError('truncated', `${key} was replaced while it was read.`, { key });
  };
  const bytes = async function* () {
    try {
      yield* resumed(first.body, reopen, {
        policy,
        signal,
        size: first.size,
        onResume: (offset, { message }) =>
          options.onEvent?.({ type: 'resume', key, offset, reason: message }),
        gaveUp: (error, attempts) => gaveUp(brokenOff(key, error), attempts),
      });
    } catch (error) {
      signal?.throwIfAborted();
      throw error instanceof Error ? brokenOff(key, error) : error;
    }
  };
  const body = Readable.from(bytes(), { objectMode: false, highWaterMark: 1 << 20 });
  // Whoever stops reading does not keep a connection that gives nothing.
  body.once('close', () => at.body.destroy());
  return { ...first, body };
}

function brokenOff(key: string, error: Error): StorageError {
  if (error instanceof StorageError) return error;
  const transient = error instanceof EndedEarly || isTransient(error) || isTransientCause(error);
  const reason = error.message.replace(/\.$/, '');
  return new StorageError('truncated', `${key}: ${reason}.`, { key, transient }, { cause: error });
}
