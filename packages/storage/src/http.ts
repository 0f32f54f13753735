import { Readable } from 'node:stream';
import { type Dispatcher, EnvHttpProxyAgent, fetch, type Response } from 'undici';
import { StorageError } from './error.js';
import { resuming } from './resume.js';
import { defaultRetry, isTransientCause, isTransientStatus, type RetryPolicy, retrying } from './retry.js';
import {
  checkKey,
  type GetOptions,
  type ObjectInfo,
  type ObjectStore,
  type StorageEvent,
  type StoredObject,
  type Wait,
} from './store.js';

export interface HttpOptions {
  /** Sent as `Authorization: Bearer`. User and password go into the URL. */
  readonly token?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly retry?: RetryPolicy;
  readonly onEvent?: (event: StorageEvent) => void;
}

/** Objects of a web server, to read only. Takes the proxy from `http_proxy`, `https_proxy` and `no_proxy`. */
export class HttpStore implements ObjectStore {
  readonly url: string;
  readonly readOnly = true;
  readonly canList = false;
  readonly conditional = false;
  readonly #base: string;
  readonly #headers: Record<string, string>;
  readonly #policy: RetryPolicy;
  readonly #onEvent: ((event: StorageEvent) => void) | undefined;
  readonly #agent: Dispatcher;

  constructor(url: string, options: HttpOptions = {}) {
    const parsed = new URL(url);
    this.#headers = { ...options.headers };
    if (options.token) this.#headers['authorization'] = `Bearer ${options.token}`;
    else if (parsed.username) {
      const pair = `${decodeURIComponent(parsed.username)}:${decodeURIComponent(parsed.password)}`;
      this.#headers['authorization'] = `Basic ${Buffer.from(pair).toString('base64')}`;
    }
    parsed.username = '';
    parsed.password = '';
    parsed.hash = '';
    this.#base = parsed.href.replace(/\/+$/, '');
    this.url = this.#base;
    this.#policy = options.retry ?? defaultRetry;
    this.#onEvent = options.onEvent;
    this.#agent = new EnvHttpProxyAgent({
      // Proxies commonly tunnel to port 443 alone; plain HTTP is asked for by its whole URL.
      proxyTunnel: false,
      connections: 32,
      connectTimeout: 20_000,
      headersTimeout: 60_000,
      bodyTimeout: 60_000,
    });
  }

  async get(key: string, options: GetOptions = {}): Promise<StoredObject> {
    const { start = 0, end } = options.range ?? {};
    const open = (offset: number) =>
      this.#try('get', key, options.signal, async () => {
        const from = start + offset;
        const ranged = from > 0 || end !== undefined;
        const response = await this.#request('GET', key, options.signal, {
          // A server that packs on the fly would change lengths and offsets.
          'accept-encoding': 'identity',
          ...(ranged ? { range: `bytes=${from}-${end ?? ''}` } : {}),
        });
        await this.#check(response, key);
        if (!response.body) return { ...info(key, response), size: 0, body: Readable.from([]) };
        const body = Readable.fromWeb(response.body as never);
        const found = info(key, response);
        if (ranged && response.status === 200) {
          // The server has no ranges: what comes before is read and dropped.
          const size =
            found.size === undefined ? undefined : Math.min(found.size, (end ?? Infinity) + 1) - from;
          return { ...found, size, body: Readable.from(slice(body, from, end), { objectMode: false }) };
        }
        return { ...found, body };
      });
    return resuming(open, {
      key,
      policy: this.#policy,
      signal: options.signal,
      onEvent: this.#onEvent,
    });
  }

  async head(key: string, options: Wait = {}): Promise<ObjectInfo | undefined> {
    return this.#try('head', key, options.signal, async () => {
      const response = await this.#request('HEAD', key, options.signal, { 'accept-encoding': 'identity' });
      if (response.status === 404 || response.status === 410) return undefined;
      await this.#check(response, key);
      return info(key, response);
    });
  }

  async put(): Promise<ObjectInfo> {
    throw this.#readOnly('write to');
  }

  // biome-ignore lint/correctness/useYield: it only refuses
  async *list(): AsyncIterable<ObjectInfo> {
    throw new StorageError('unsupported', `${this.url} cannot be listed: HTTP has no listing.`, {
      hint: 'Its index says what it holds; to list all of it, use its s3:// or file:// address.',
    });
  }

  async copy(): Promise<void> {
    throw this.#readOnly('copy in');
  }

  async delete(): Promise<number> {
    throw this.#readOnly('delete from');
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  #readOnly(what: string): StorageError {
    return new StorageError('unsupported', `Cannot ${what} ${this.url}: an HTTP mirror can only be read.`, {
      hint: 'Use its s3:// or file:// address.',
    });
  }

  async #request(
    method: string,
    key: string,
    signal: AbortSignal | undefined,
    headers: Record<string, string>,
  ): Promise<Response> {
    const path = checkKey(key).split('/').map(encodeURIComponent).join('/');
    const url = new URL(this.#base);
    url.pathname = `${url.pathname.replace(/\/+$/, '')}/${path}`;
    try {
      return await fetch(url, {
        method,
        headers: { ...this.#headers, ...headers },
        signal,
        dispatcher: this.#agent,
        redirect: 'follow',
      });
    } catch (error) {
      signal?.throwIfAborted();
      const reason = (error as Error & { cause?: Error }).cause?.message ?? (error as Error).message;
      throw new StorageError(
        'unavailable',
        `Cannot reach ${this.url}: ${reason}.`,
        { store: this.url, key, transient: isTransientCause(error) },
        { cause: error },
      );
    }
  }

  async #check(response: Response, key: string): Promise<void> {
    if (response.ok) return;
    await response.body?.cancel().catch(() => {});
    const { status } = response;
    const details = { store: this.url, key, status };
    if (status === 404 || status === 410) {
      throw new StorageError('not-found', `${this.url}/${key}: not there (HTTP ${status}).`, details);
    }
    if (status === 401 || status === 403 || status === 407) {
      throw new StorageError('denied', `${this.url}/${key}: access denied (HTTP ${status}).`, {
        ...details,
        hint: 'Give a user and password in the URL, or a token (--token-variable NAME).',
      });
    }
    if (status === 416)
      throw new StorageError('truncated', `${this.url}/${key} is shorter than expected.`, details);
    throw new StorageError('unavailable', `${this.url}/${key}: the server answered HTTP ${status}.`, {
      ...details,
      transient: isTransientStatus(status),
      retryAfter: Number(response.headers.get('retry-after')) || undefined,
    });
  }

  #try<T>(
    operation: string,
    key: string,
    signal: AbortSignal | undefined,
    work: () => Promise<T>,
  ): Promise<T> {
    return retrying(this.#policy, work, {
      signal,
      onRetry: (attempt, delay, error) =>
        this.#onEvent?.({ type: 'retry', operation, key, attempt, delay, reason: error.message }),
    });
  }
}

function info(key: string, response: Response): ObjectInfo {
  const length = response.headers.get('content-length');
  const modified = response.headers.get('last-modified');
  return {
    key,
    size: length === null || response.headers.has('content-encoding') ? undefined : Number(length),
    etag: response.headers.get('etag') ?? undefined,
    modified: modified ? new Date(modified) : undefined,
  };
}

async function* slice(body: Readable, start: number, end = Infinity): AsyncGenerator<Buffer> {
  let at = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    const from = Math.max(0, start - at);
    const to = Math.min(chunk.length, end + 1 - at);
    if (from < to) yield chunk.subarray(from, to);
    at += chunk.length;
    if (at > end) return;
  }
}
