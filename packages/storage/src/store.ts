import type { Readable } from 'node:stream';
import { StorageError } from './error.js';

/** What a store knows of an object without its bytes. */
export interface ObjectInfo {
  /** Path below the store's root: no leading slash, `/` between parts. */
  readonly key: string;
  /** Bytes; undefined where a server does not say. */
  readonly size: number | undefined;
  /** Changes whenever the object does; only to be given back as a precondition. */
  readonly etag: string | undefined;
  readonly modified: Date | undefined;
}

export interface StoredObject extends ObjectInfo {
  /** Ends with an error when the connection breaks off or fewer bytes come than announced. */
  readonly body: Readable;
}

/** `absent`: write only if there is no such object. `match`: replace only the version with this etag. */
export type Precondition = { readonly absent: true } | { readonly match: string };

/** Bytes to write: whole, or as a stream that can be opened again when a try fails. */
export type Content = Uint8Array | { readonly size: number; readonly open: () => Readable };

export interface Wait {
  readonly signal?: AbortSignal;
}

export interface GetOptions extends Wait {
  /** Bytes from `start` up to and with `end`; to the end of the object when `end` is left out. */
  readonly range?: { readonly start: number; readonly end?: number };
}

export interface ListOptions extends Wait {
  /** Only keys are wanted: sizes, etags and times may be left out where they cost something. */
  readonly keysOnly?: boolean;
}

export interface PutOptions extends Wait {
  readonly contentType?: string;
  readonly precondition?: Precondition;
}

/**
 * Objects by key. Every answer is whole or not there: a reader never sees half an object.
 * Every method rejects with a `StorageError`, or an `AbortError` once its signal fires.
 */
export interface ObjectStore {
  /** Where it is, for messages: never holds a credential. */
  readonly url: string;
  readonly readOnly: boolean;
  /** Whether keys can be listed; HTTP has no listing. */
  readonly canList: boolean;
  /**
   * Whether preconditions are kept by the store itself, as far as the writes until now have shown; else they are checked
   * before the write only, and whoever has written must read again.
   */
  readonly conditional: boolean;
  /** @throws StorageError `not-found` */
  get(key: string, options?: GetOptions): Promise<StoredObject>;
  head(key: string, options?: Wait): Promise<ObjectInfo | undefined>;
  /** @throws StorageError `precondition` */
  put(key: string, content: Content, options?: PutOptions): Promise<ObjectInfo>;
  /** Every object whose key starts with `prefix`, in no particular order. */
  list(prefix: string, options?: ListOptions): AsyncIterable<ObjectInfo>;
  /** Copies inside this store, without the bytes passing through here. @throws StorageError `not-found` */
  copy(from: string, to: string, options?: Wait): Promise<void>;
  /** Deletes what is there; what is not is no error. Returns how many keys were given. */
  delete(keys: Iterable<string> | AsyncIterable<string>, options?: Wait): Promise<number>;
  /** A small object at once, where the store has a quicker way than a stream. @throws StorageError `not-found` */
  readSmall?(key: string, options?: Wait): Promise<{ bytes: Buffer; info: ObjectInfo }>;
  /** Removes what killed writers left behind and nobody touched for `age` milliseconds. Returns how much it was. */
  sweep?(age: number, signal?: AbortSignal): Promise<number>;
  /** Frees connections. The store must not be used after it. */
  close(): Promise<void>;
}

/** What a store tells of its own doing, for progress and logs. */
export type StorageEvent =
  | {
      readonly type: 'retry';
      readonly operation: string;
      readonly key: string;
      readonly attempt: number;
      readonly delay: number;
      readonly reason: string;
    }
  | { readonly type: 'resume'; readonly key: string; readonly offset: number; readonly reason: string };

/** @throws StorageError `invalid` for a key that is empty, absolute, or leaves the root */
export function checkKey(key: string): string {
  if (
    key === '' ||
    key.includes('\0') ||
    key.split('/').some((part) => part === '' || part === '.' || part === '..')
  ) {
    throw new StorageError('invalid', `${JSON.stringify(key)} is no valid object key.`, { key });
  }
  return key;
}

/** Bytes that `content` holds. */
export function sizeOf(content: Content): number {
  return content instanceof Uint8Array ? content.byteLength : content.size;
}

/** @throws StorageError `truncated` when a stream did not give what was announced */
export function checkCount(count: number, size: number, key: string): void {
  if (count === size) return;
  const came = count > size ? `more than ${size} bytes came` : `${count} bytes came, ${size} were announced`;
  throw new StorageError('truncated', `${key}: ${came}.`, { key });
}

/** Reads an object whole. Only for what is small by its nature. @param limit bytes @throws StorageError */
export async function readObject(
  store: ObjectStore,
  key: string,
  limit = 64 * 1024 * 1024,
  signal?: AbortSignal,
): Promise<{ bytes: Buffer; info: ObjectInfo }> {
  const tooLarge = () =>
    new StorageError('invalid', `${store.url}/${key} is larger than ${limit} bytes.`, { key });
  if (store.readSmall) {
    const found = await store.readSmall(key, { signal });
    if (found.bytes.length > limit) throw tooLarge();
    return found;
  }
  const { body, ...info } = await store.get(key, { signal });
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > limit) {
      body.destroy();
      throw tooLarge();
    }
    chunks.push(chunk);
  }
  return { bytes: Buffer.concat(chunks, length), info };
}
