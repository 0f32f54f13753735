import { addAbortSignal, Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { StorageError } from './error.js';
import { backOff, isTransientCause, type RetryPolicy } from './retry.js';
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
  const opened = async (offset: number) => {
    const found = await open(offset);
    if (signal) addAbortSignal(signal, found.body);
    // It can break off before anybody reads; whoever reads then is told.
    found.body.on('error', () => {});
    return found;
  };
  const first = await opened(0);
  const total = first.size;
  let at = first;
  const bytes = async function* (): AsyncGenerator<Buffer> {
    let offset = 0;
    let failures = 0;
    for (;;) {
      try {
        for await (const chunk of at.body as AsyncIterable<Buffer>) {
          offset += chunk.length;
          failures = 0;
          yield chunk;
        }
        if (total === undefined || offset >= total) return;
        throw new StorageError('truncated', `${key}: ${offset} of ${total} bytes came.`, { transient: true });
      } catch (error) {
        signal?.throwIfAborted();
        const passes =
          (error instanceof StorageError && error.details.transient) ||
          isTransientCause(error) ||
          (error as { code?: string }).code === 'ERR_STREAM_PREMATURE_CLOSE';
        failures++;
        if (!passes || failures >= policy.attempts) throw error;
        options.onEvent?.({ type: 'resume', key, offset, reason: (error as Error).message });
        await sleep(backOff(policy, failures), undefined, { signal });
        at = await opened(offset);
        if (at.etag !== first.etag) {
          throw new StorageError('truncated', `${key} was replaced while it was read.`, { key });
        }
      }
    }
  };
  const body = Readable.from(bytes(), { objectMode: false, highWaterMark: 1 << 20 });
  // Whoever stops reading does not keep a connection that gives nothing.
  body.once('close', () => at.body.destroy());
  return { ...first, body };
}
