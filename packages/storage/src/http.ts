import { Readable } from 'node:stream';
import {
  defaultRetry,
  HttpClient,
  HttpError,
  type HttpLimits,
  type HttpRequest,
  type HttpStream,
  type RetryPolicy,
} from '@stackwright/http';
import { StorageError } from './error.js';
import { resuming } from './resume.js';
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
  /** Where proxies and certificate authorities come from; `process.env` when left out. */
  readonly env?: NodeJS.ProcessEnv;
  /** Sent as `Authorization: Bearer`. User and password go into the URL. */
  readonly token?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly retry?: RetryPolicy;
  readonly limits?: Partial<HttpLimits>;
  readonly onEvent?: (event: StorageEvent) => void;
}

/** Objects of a web server, to read only. */
export class HttpStore implements ObjectStore {
  readonly url: string;
  readonly readOnly = true;
  readonly canList = false;
  readonly conditional = false;
  readonly #policy: RetryPolicy;
  readonly #onEvent: ((event: StorageEvent) => void) | undefined;
  readonly #client: HttpClient;

  /** @throws HttpError `invalid` for a proxy or a certificate file of the environment that cannot be used */
  constructor(url: string, { env, token, headers, retry = defaultRetry, limits, onEvent }: HttpOptions = {}) {
    const parsed = new URL(url);
    const authorization = token ? `Bearer ${token}` : basicOf(parsed);
    parsed.username = '';
    parsed.password = '';
    parsed.hash = '';
    this.url = parsed.href.replace(/\/+$/, '');
    this.#policy = retry;
    this.#onEvent = onEvent;
    this.#client = new HttpClient({
      env,
      limits,
      retry,
      // A server that packs on the fly would change lengths and offsets.
      headers: {
        'accept-encoding': 'identity',
        ...headers,
        authorization: authorization ?? headers?.authorization,
      },
    });
  }

  async get(key: string, options: GetOptions = {}): Promise<StoredObject> {
    const { start = 0, end } = options.range ?? {};
    const open = async (offset: number): Promise<StoredObject> => {
      const from = start + offset;
      const range = from > 0 || end !== undefined ? `bytes=${from}-${end ?? ''}` : undefined;
      const response = await this.#ask('get', key, options.signal, (url, request) =>
        this.#client.stream(url, { ...request, headers: { range }, accept: [200, 206] }),
      );
      const found = info(key, response);
      if (!range || response.status === 206) return { ...found, body: response.body };
      // The server has no ranges: what comes before is read and dropped.
      const size = found.size === undefined ? undefined : Math.min(found.size, (end ?? Infinity) + 1) - from;
      return { ...found, size, body: Readable.from(slice(response.body, from, end), { objectMode: false }) };
    };
    return resuming(open, {
      key,
      policy: this.#policy,
      signal: options.signal,
      onEvent: this.#onEvent,
    });
  }

  async head(key: string, options: Wait = {}): Promise<ObjectInfo | undefined> {
    const answer = await this.#ask('head', key, options.signal, (url, request) =>
      this.#client.request(url, { ...request, method: 'HEAD', accept: [200, 404, 410] }),
    );
    return answer.status === 200 ? info(key, answer) : undefined;
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
    await this.#client.close();
  }

  #readOnly(what: string): StorageError {
    return new StorageError('unsupported', `Cannot ${what} ${this.url}: an HTTP mirror can only be read.`, {
      hint: 'Use its s3:// or file:// address.',
    });
  }

  async #ask<T>(
    operation: string,
    key: string,
    signal: AbortSignal | undefined,
    ask: (url: URL, request: HttpRequest) => Promise<T>,
  ): Promise<T> {
    const path = checkKey(key).split('/').map(encodeURIComponent).join('/');
    const url = new URL(this.url);
    url.pathname = `${url.pathname.replace(/\/+$/, '')}/${path}`;
    const onRetry = (attempt: number, delay: number, error: Error) =>
      this.#onEvent?.({ type: 'retry', operation, key, attempt, delay, reason: error.message });
    try {
      return await ask(url, { signal, onRetry });
    } catch (error) {
      throw error instanceof HttpError ? this.#told(error, key) : error;
    }
  }

  #told(error: HttpError, key: string): StorageError {
    const { status, said, reason, transient, costly, attempts, retryAfter } = error.details;
    const at = `${this.url}/${key}`;
    const tried = attempts === undefined ? '' : ` Tried ${attempts} times.`;
    const details = {
      store: this.url,
      key,
      status,
      transient,
      costly,
      attempts,
      retryAfter,
      hint: error.hint,
    };
    const options = { cause: error };
    if (status === undefined) {
      const message = error.code === 'unreachable' ? `Cannot reach ${this.url}` : `Cannot read ${at}`;
      return new StorageError('unavailable', `${message}: ${reason}.${tried}`, details, options);
    }
    if (status === 404 || status === 410) {
      return new StorageError('not-found', `${at}: not there (HTTP ${status}).`, details, options);
    }
    const answer = `HTTP ${status}${said ? `, ${said.replace(/\.$/, '')}` : ''}`;
    if (error.code === 'denied') {
      const hint = 'Give a user and password in the URL, or a token (--token-variable NAME).';
      return new StorageError('denied', `${at}: access denied (${answer}).`, { ...details, hint }, options);
    }
    if (status === 416) {
      return new StorageError('truncated', `${at} is shorter than expected.`, details, options);
    }
    return new StorageError('unavailable', `${at}: the server answered ${answer}.${tried}`, details, options);
  }
}

function basicOf({ username, password }: URL): string | undefined {
  if (!username) return undefined;
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return `Basic ${Buffer.from(pair).toString('base64')}`;
}

function info(key: string, response: Pick<HttpStream, 'header'>): ObjectInfo {
  const length = response.header('content-length');
  const modified = response.header('last-modified');
  return {
    key,
    size: length === undefined || response.header('content-encoding') ? undefined : Number(length),
    etag: response.header('etag'),
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
