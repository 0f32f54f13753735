import { STATUS_CODES } from 'node:http';
import { Readable } from 'node:stream';
import type { Dispatcher } from 'undici';
import { openAgent } from './agent.js';
import { HttpError, type HttpErrorDetails } from './error.js';
import { Deadline, defaultLimits, Exchange, type HttpLimits } from './exchange.js';
import { type Hop, isHarmless, redirected } from './redirect.js';
import { beginning, collect, decoded, HttpAnswer, HttpStream } from './response.js';
import { defaultRetry, isTransientStatus, type RetryPolicy, retryAfterOf, retrying } from './retry.js';
import { maskUrl, serverText } from './text.js';

export interface HttpClientOptions {
  /** Where proxies and certificate authorities come from; `process.env` when left out. */
  readonly env?: NodeJS.ProcessEnv;
  readonly limits?: Partial<HttpLimits>;
  readonly retry?: RetryPolicy;
  /** Sent with every request. @example { 'user-agent': 'stackwright' } */
  readonly headers?: Readonly<Record<string, string | undefined>>;
  /** Whether servers need a certificate by a known authority; true when left out. */
  readonly verify?: boolean;
}

export interface HttpRequest {
  /** `GET` when left out. */
  readonly method?: string;
  /** Those without a value are left out. */
  readonly headers?: Readonly<Record<string, string | undefined>>;
  /** A stream is sent once: whoever has it makes the next attempt. Without `content-length` it is sent in chunks. */
  readonly body?: string | Uint8Array | Readable;
  /** A body of JSON instead of `body`. */
  readonly json?: unknown;
  readonly signal?: AbortSignal;
  /** Statuses that are answers and no errors; all below 300 when left out, `any` for all. */
  readonly accept?: readonly number[] | 'any';
  /** Statuses after which the request is made again, even if accepted; the usual ones that are not when left out. */
  readonly passing?: readonly number[];
  /** Whether the request does no harm when it arrives twice; true for GET, HEAD, OPTIONS, PUT and DELETE. */
  readonly repeatable?: boolean;
  /** How often the request is made at most, instead of the client's policy. */
  readonly attempts?: number;
  readonly limits?: Partial<HttpLimits>;
  /** Told before each pause. @param delay milliseconds */
  readonly onRetry?: (attempt: number, delay: number, error: Error) => void;
}

/** Bytes of a document's body that are read when the caller sets no limit. */
const defaultLimit = 1024 * 1024;
/** Bytes and milliseconds that are spent on what a server says about an error. */
const errorLimit = 64 * 1024;
const errorTime = 5_000;
const mostRedirects = 10;
const idempotent = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE']);

/**
 * Asks HTTP servers. Each request has time limits and is made again when its failure may pass. Connections are kept
 * open until `close`.
 */
export class HttpClient {
  readonly #agent: Dispatcher;
  readonly #limits: HttpLimits;
  readonly #retry: RetryPolicy;
  readonly #headers: HttpClientOptions['headers'];
  /** Origins that have answered: only these are worth many attempts while nothing listens there. */
  readonly #answered = new Set<string>();

  /** @throws HttpError `invalid` for a proxy or a certificate file of the environment that cannot be used */
  constructor({
    env = process.env,
    limits,
    retry = defaultRetry,
    headers,
    verify = true,
  }: HttpClientOptions = {}) {
    this.#limits = { ...defaultLimits, ...limits };
    this.#retry = retry;
    this.#headers = headers;
    this.#agent = openAgent({ env, connect: this.#limits.connect, verify });
  }

  /**
   * Makes a request and reads its answer into memory.
   * @param options.limit bytes of the body, 1 MiB when left out
   * @throws HttpError; the signal's reason once it fires
   */
  async request(
    url: string | URL,
    options: HttpRequest & { readonly limit?: number } = {},
  ): Promise<HttpAnswer> {
    const { limit = defaultLimit } = options;
    return this.#patiently(url, options, async ({ hop, status, headers, body }) => {
      const announced = hop.method === 'HEAD' ? 0 : Number(headers['content-length'] ?? 0);
      const bytes = announced > limit ? undefined : await collect(body, limit);
      if (bytes) return new HttpAnswer(status, hop.url, headers, bytes);
      body.destroy();
      throw tooLarge(hop, status, limit);
    });
  }

  /**
   * Makes a request and gives its answer as soon as the head is there, for what can be large. A body that breaks off
   * is not asked for again.
   * @throws HttpError; the signal's reason once it fires
   */
  async stream(url: string | URL, options: HttpRequest = {}): Promise<HttpStream> {
    return this.#patiently(url, options, async ({ hop, status, headers, body, exchange }) => {
      exchange.streams();
      return new HttpStream(status, hop.url, headers, body);
    });
  }

  /** Ends all requests and closes all connections. */
  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  async #patiently<T>(
    url: string | URL,
    options: HttpRequest,
    finish: (response: Incoming) => Promise<T>,
  ): Promise<T> {
    const start = hopOf(url, options, this.#headers);
    const { signal, onRetry, attempts = this.#retry.attempts } = options;
    return retrying(
      { ...this.#retry, attempts },
      async () => {
        const response = await this.#answer(start, options);
        await checkStatus(response, options);
        return finish(response);
      },
      { signal, onRetry, again: (error) => isSafe(error, start, options), gaveUp },
    );
  }

  /** The answer at the end of all redirects. */
  async #answer(start: Hop, options: HttpRequest): Promise<Incoming> {
    const limits = { ...this.#limits, ...options.limits };
    const deadline = new Deadline();
    let hop = start;
    for (let followed = 0; ; followed++) {
      const { origin } = hop.url;
      const costly = !this.#answered.has(origin);
      const exchange = new Exchange(hop, limits, deadline, options.signal, costly);
      const { statusCode: status, headers, body } = await exchange.start(this.#agent);
      this.#answered.add(origin);
      const next = redirected(hop, status, one(headers.location));
      if (!next) {
        const told = (error: unknown) => exchange.told(error);
        return {
          hop,
          status,
          headers,
          body: decoded(body, one(headers['content-encoding']), told),
          exchange,
        };
      }
      await beginning(body, errorLimit, errorTime);
      if (followed === mostRedirects) throw tooManyRedirects(start);
      hop = next;
    }
  }
}

interface Incoming {
  /** The last request. */
  readonly hop: Hop;
  readonly status: number;
  readonly headers: Dispatcher.ResponseData['headers'];
  readonly body: Readable;
  readonly exchange: Exchange;
}

/** @throws HttpError `invalid` */
function hopOf(address: string | URL, request: HttpRequest, common: HttpClientOptions['headers']): Hop {
  const url = parsed(address);
  const body = bodyOf(request);
  const headers: Record<string, string> = {};
  if (request.json !== undefined) headers['content-type'] = 'application/json';
  if (body instanceof Uint8Array) headers['content-length'] = String(body.byteLength);
  if (url.username || url.password) {
    const pair = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
    headers.authorization = `Basic ${Buffer.from(pair).toString('base64')}`;
    url.username = '';
    url.password = '';
  }
  for (const [name, value] of Object.entries({ ...common, ...request.headers })) {
    if (value !== undefined) headers[name.toLowerCase()] = value;
  }
  return { url, method: request.method ?? 'GET', headers, body };
}

function parsed(address: string | URL): URL {
  const url = URL.canParse(String(address)) ? new URL(address) : undefined;
  if (url && (url.protocol === 'http:' || url.protocol === 'https:')) return url;
  // An address that cannot be parsed may hold a password anywhere.
  const shown = url ? `An address of the form ${url.protocol}//…` : 'The address';
  throw new HttpError('invalid', `${shown} is not a valid http:// or https:// URL.`);
}

function bodyOf({ body, json }: HttpRequest): Hop['body'] {
  if (json !== undefined) return Buffer.from(JSON.stringify(json));
  return typeof body === 'string' ? Buffer.from(body) : body;
}

/** @throws HttpError `denied` or `status` for a status that is no answer, with what the server says */
async function checkStatus(response: Incoming, { accept, passing }: HttpRequest): Promise<void> {
  const { hop, status, headers, body } = response;
  const accepted = accept === 'any' || (accept ? accept.includes(status) : status >= 200 && status < 300);
  if (accepted && !passing?.includes(status)) return;
  const said = hidden(serverText((await beginning(body, errorLimit, errorTime)).toString('utf8')), hop);
  const reason = `HTTP ${status}${said || STATUS_CODES[status] ? `, ${said || STATUS_CODES[status]}` : ''}`;
  const url = maskUrl(hop.url);
  throw new HttpError(
    [401, 403, 407].includes(status) ? 'denied' : 'status',
    `${hop.method} ${url}: ${reason.replace(/\.$/, '')}.`,
    {
      method: hop.method,
      url,
      reason: reason.replace(/\.$/, ''),
      status,
      said,
      challenge: one(headers['www-authenticate']),
      sent: true,
      transient: passing ? passing.includes(status) : isTransientStatus(status),
      retryAfter: retryAfterOf(one(headers['retry-after'])),
    },
  );
}

/** A server may repeat the credential that it refuses. */
function hidden(said: string, { headers }: Hop): string {
  const secrets = Object.entries(headers).flatMap(([name, value]) =>
    isHarmless(name) ? [] : value.split(' ').filter((word) => word.length >= 6),
  );
  return secrets.reduce((text, secret) => text.replaceAll(secret, '***'), said);
}

/** Whether another attempt does no harm: the server has not had the request, says that it did nothing, or may do it twice. */
function isSafe(error: Error, { method, body }: Hop, options: HttpRequest): boolean {
  if (!(error instanceof HttpError) || body instanceof Readable) return false;
  const { sent, status } = error.details;
  const refused = options.passing ?? [429, 503];
  return (
    (options.repeatable ?? idempotent.has(method)) ||
    sent === false ||
    (status !== undefined && refused.includes(status))
  );
}

function gaveUp(error: Error, attempts: number): Error {
  if (!(error instanceof HttpError)) return error;
  const details = { ...error.details, attempts };
  return new HttpError(error.code, `${error.message} Tried ${attempts} times.`, details, { cause: error });
}

function tooLarge({ method, url }: Hop, status: number, limit: number): HttpError {
  const reason = `the answer is larger than ${limit} bytes`;
  const details: HttpErrorDetails = { method, url: maskUrl(url), reason, status, sent: true };
  return new HttpError('too-large', `${method} ${details.url}: ${reason}.`, details);
}

function tooManyRedirects({ method, url }: Hop): HttpError {
  const reason = `more than ${mostRedirects} redirects`;
  const details: HttpErrorDetails = { method, url: maskUrl(url), reason, sent: true };
  return new HttpError('too-many-redirects', `${method} ${details.url}: ${reason}.`, details);
}

function one(header: string | string[] | undefined): string | undefined {
  return Array.isArray(header) ? header[0] : header;
}
