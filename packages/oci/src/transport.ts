import { setTimeout as sleep } from 'node:timers/promises';
import { type Dispatcher, EnvHttpProxyAgent, fetch, type RequestInit, type Response } from 'undici';
import { OciError } from './error.js';
import type { Credentials, RegistryOptions } from './registry.js';

/** A failure that may pass when the same is done again. `error` is what is said when it does not. */
export class PassingFailure extends Error {
  constructor(
    readonly error: Error,
    /** What the server said about when to come again: seconds, or a date. */
    readonly retryAfter?: string,
  ) {
    super(error.message);
  }
}

export interface Request {
  readonly method: string;
  readonly url: URL;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: RequestInit['body'];
  readonly signal?: AbortSignal;
}

const passingStatuses = new Set([408, 425, 429, 500, 502, 503, 504]);
const longestPause = 60_000;
/** A name that nobody knows and a certificate that nobody trusts are the same the next time. */
const lastingCodes = /^(ENOTFOUND|EPROTO|CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|ERR_TLS_CERT|ERR_SSL_)/;

/** Requests to one repository of a registry, with what it takes to be let in, and patience. */
export class Transport {
  readonly #dispatcher: Dispatcher = new EnvHttpProxyAgent();
  // One a scope; a refused one is asked for again.
  readonly #authorization = new Map<string, string>();
  readonly #authorizing = new Map<string, Promise<void>>();
  readonly attempts: number;

  constructor(
    private readonly registry: string,
    private readonly repository: string,
    /** `https://HOST` or `http://HOST` */
    readonly base: string,
    private readonly options: RegistryOptions,
  ) {
    this.attempts = options.attempts ?? 7;
  }

  /**
   * Does `work` again while it fails with what may pass, each time after a longer pause.
   * @throws the last failure, saying how often it was tried
   */
  async patiently<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    for (let attempt = 1; ; attempt += 1) {
      signal?.throwIfAborted();
      try {
        return await work();
      } catch (error) {
        signal?.throwIfAborted();
        if (!(error instanceof PassingFailure)) throw error;
        if (attempt >= this.attempts) throw triedInVain(error.error, attempt);
        await pause(attempt, error.retryAfter, signal);
      }
    }
  }

  /**
   * Makes one request; asked for credentials, it gives them and asks again.
   * @param statuses those that are answers; `retry`: also those, besides the usual ones, that may pass
   * @throws PassingFailure, or OciError for what will be the same the next time
   */
  async request(
    request: Request,
    what: string,
    statuses: readonly number[],
    retry: readonly number[] = [],
  ): Promise<Response> {
    const { method, body, signal } = request;
    const scope = `repository:${this.repository}:${method === 'GET' || method === 'HEAD' ? 'pull' : 'pull,push'}`;
    const authorization = this.#authorization.get(scope);
    const response = await this.#send(request, authorization);
    if (response.status === 401 && this.#authorization.get(scope) !== authorization) {
      // Somebody else was let in meanwhile.
      await response.body?.cancel();
      if (!body) return this.request(request, what, statuses, retry);
      throw new PassingFailure(this.#refused(401));
    }
    if (response.status === 401 && response.headers.has('www-authenticate')) {
      await response.body?.cancel();
      await this.#authorizeOnce(response.headers.get('www-authenticate')!, scope, signal);
      // A stream can't be sent twice: whoever has it makes it anew.
      if (body && !(body instanceof Uint8Array)) throw new PassingFailure(this.#refused(401));
      const second = await this.#send(request, this.#authorization.get(scope));
      return this.#checked(second, what, statuses, retry);
    }
    return this.#checked(response, what, statuses, retry);
  }

  async #send({ method, url, headers, body, signal }: Request, authorization?: string): Promise<Response> {
    // A storage behind the registry must not be shown the registry's token.
    const own = url.host === new URL(this.base).host;
    try {
      return await fetch(url, {
        method,
        headers: { ...headers, ...(authorization && own ? { authorization } : {}) },
        body,
        duplex: 'half',
        signal,
        dispatcher: this.#dispatcher,
      });
    } catch (error) {
      signal?.throwIfAborted();
      throw this.#unreachable(error);
    }
  }

  async #checked(
    response: Response,
    what: string,
    statuses: readonly number[],
    retry: readonly number[],
  ): Promise<Response> {
    const { status } = response;
    if (statuses.includes(status)) return response;
    const text = await response.text().catch(() => '');
    if (status === 401 || status === 403) throw this.#refused(status);
    const error = new OciError(
      status >= 500 || status === 429 ? 'failed' : 'input',
      `${this.registry}/${this.repository}: could not ${what}: ${status} ${messageOf(text) || response.statusText}.`,
      { status },
    );
    // Some registries miss a blob for a moment while somebody else uploads the same one.
    const passing =
      passingStatuses.has(status) || retry.includes(status) || /MANIFEST_BLOB_UNKNOWN/.test(text);
    if (!passing) throw error;
    throw new PassingFailure(error, response.headers.get('retry-after') ?? undefined);
  }

  /** However many requests want to be let in at the same time, it is asked for once. */
  #authorizeOnce(challenge: string, scope: string, signal?: AbortSignal): Promise<void> {
    let running = this.#authorizing.get(scope);
    if (!running) {
      running = this.#authorize(challenge, scope, signal).finally(() => this.#authorizing.delete(scope));
      this.#authorizing.set(scope, running);
    }
    return running;
  }

  async #authorize(challenge: string, scope: string, signal?: AbortSignal): Promise<void> {
    const credentials: Credentials | undefined = await this.options.credentials?.();
    const basic =
      credentials &&
      `Basic ${Buffer.from(`${credentials.username}:${credentials.password}`).toString('base64')}`;
    if (/^basic/i.test(challenge)) {
      if (!basic) throw this.#refused(401);
      this.#authorization.set(scope, basic);
      return;
    }
    const parameter = (name: string) => new RegExp(`${name}="([^"]*)"`).exec(challenge)?.[1];
    const realm = parameter('realm');
    if (!realm) throw this.#refused(401);
    const url = new URL(realm);
    const service = parameter('service');
    if (service) url.searchParams.set('service', service);
    url.searchParams.set('scope', scope);
    let response: Response;
    try {
      response = await fetch(url, {
        headers: basic ? { authorization: basic } : {},
        signal,
        dispatcher: this.#dispatcher,
      });
    } catch (error) {
      signal?.throwIfAborted();
      throw this.#unreachable(error);
    }
    await this.#checked(response, 'ask for a token', [200], []);
    const { token, access_token } = await readJson<{ token?: string; access_token?: string }>(response);
    this.#authorization.set(scope, `Bearer ${token ?? access_token}`);
  }

  #refused(status: number): OciError {
    return new OciError(
      'missing',
      `${this.registry}/${this.repository} refused the credentials (${status}).`,
      {
        status,
        hint: `Log in with "docker login ${this.registry}", or give a user and password or token.`,
      },
    );
  }

  #unreachable(error: unknown): Error {
    const cause = (error as Error).cause as (Error & { code?: string }) | undefined;
    const why = cause?.message || cause?.code || (error as Error).message;
    // OpenSSL's words for an answer that is none of its own.
    const noTls = /wrong version number/.test(why);
    const said = new OciError(
      'missing',
      `${this.base} can't be reached: ${noTls ? 'it does not speak TLS' : why}.`,
      noTls ? { hint: 'Write oci+http:// for a registry without TLS.' } : {},
      { cause: error },
    );
    return lastingCodes.test(cause?.code ?? '') ? said : new PassingFailure(said);
  }
}

/** An answer's bytes; one that breaks off may come whole the next time. For what is small by its nature. */
export async function readBytes(response: Response): Promise<Buffer> {
  try {
    return Buffer.from(await response.arrayBuffer());
  } catch (error) {
    throw new PassingFailure(brokenOff(response.url, error));
  }
}

export async function readJson<T>(response: Response): Promise<T> {
  const bytes = await readBytes(response);
  try {
    return JSON.parse(bytes.toString('utf8')) as T;
  } catch (error) {
    throw new PassingFailure(brokenOff(response.url, error));
  }
}

/** Waits longer after each failure, never in step with other clients, and as long as the server asks, up to a minute. */
export async function pause(attempt: number, retryAfter?: string, signal?: AbortSignal): Promise<void> {
  const ceiling = Math.min(100 * 2 ** attempt, 10_000);
  const backOff = ceiling / 2 + (Math.random() * ceiling) / 2;
  const seconds = Number(retryAfter);
  const asked = Number.isNaN(seconds) ? Date.parse(retryAfter!) - Date.now() : seconds * 1000;
  await sleep(Math.max(backOff, Math.min(asked || 0, longestPause)), undefined, { signal });
}

/** The error that is said when patience has an end. */
export function triedInVain(error: Error, attempts: number): Error {
  if (!(error instanceof OciError) || attempts === 1) return error;
  const { hint, ...details } = error.details;
  const tried = hint === undefined ? `${error.message} Tried ${attempts} times.` : error.message;
  return new OciError(error.kind, tried, details, { cause: error });
}

export function brokenOff(url: string, error: unknown): OciError {
  const cause = (error as Error).cause as Error | undefined;
  const why = cause?.message || (error as Error).message;
  return new OciError(
    'failed',
    `The answer of ${url.split('?')[0]} broke off: ${why}.`,
    {},
    { cause: error },
  );
}

function messageOf(text: string): string {
  try {
    const { errors } = JSON.parse(text) as { errors?: { code?: string; message?: string }[] };
    return (errors ?? []).map(({ code, message }) => `${code ?? ''} ${message ?? ''}`.trim()).join('; ');
  } catch {
    return text.slice(0, 200).trim();
  }
}
