import { Readable } from 'node:stream';
import {
  defaultRetry,
  type HttpAnswer,
  HttpClient,
  HttpError,
  type HttpLimits,
  type HttpRequest,
  type HttpStream,
  type RetryPolicy,
  retrying,
} from '@stackwright/http';
import type { Credentials } from './credentials.js';
import { OciError } from './error.js';

export interface RegistryOptions {
  /** Plain HTTP or not. When left out, registries on the loopback interface are asked by HTTP, others by HTTPS. */
  readonly http?: boolean;
  /** Asked when the registry wants to know who calls. */
  readonly credentials?: () => Promise<Credentials | undefined>;
  /** How often what fails for a passing reason is done in all; 7 by default. */
  readonly attempts?: number;
  /** Time limits of each request; those of `HttpClient` when left out. */
  readonly limits?: Partial<HttpLimits>;
}

/** What a repository asks its registry. */
export interface Request {
  readonly method: string;
  readonly url: URL;
  /** The work, for errors: "could not …". */
  readonly what: string;
  /** Statuses that are answers. */
  readonly accept: readonly number[];
  /** Statuses, besides the usual ones, after which the work may succeed when it is done again. */
  readonly passing?: readonly number[];
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | Readable;
  readonly limits?: Partial<HttpLimits>;
  readonly signal?: AbortSignal;
}

/** Bytes of a token server's answer. */
const tokenLimit = 256 * 1024;

let sharedClient: HttpClient | undefined;

/** The connections of all repositories of this process; idle ones do not keep it alive. */
function client(): HttpClient {
  sharedClient ??= new HttpClient();
  return sharedClient;
}

/** Requests to one repository of a registry, with what it takes to be let in. */
export class Transport {
  readonly policy: RetryPolicy;
  // One a scope; a refused one is asked for again.
  readonly #authorization = new Map<string, string>();
  readonly #authorizing = new Map<string, Promise<void>>();

  constructor(
    private readonly registry: string,
    private readonly repository: string,
    /** `https://HOST` or `http://HOST` */
    readonly base: string,
    private readonly options: RegistryOptions,
  ) {
    this.policy = { ...defaultRetry, attempts: options.attempts ?? defaultRetry.attempts };
  }

  /** Does `work` again while it fails with what may pass. @throws the last failure, saying how often it was tried */
  patiently<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    return retrying(this.policy, work, { signal, gaveUp });
  }

  /** Makes one request and reads its answer. @param limit bytes @throws OciError */
  read(request: Request, limit: number): Promise<HttpAnswer> {
    return this.#authorized(request, (options) => client().request(request.url, { ...options, limit }));
  }

  /** Makes one request whose answer can be large. @throws OciError */
  stream(request: Request): Promise<HttpStream> {
    return this.#authorized(request, (options) => client().stream(request.url, options));
  }

  /** What a transfer failed with, as an error of this package. */
  told(error: unknown, { what, passing = [] }: Pick<Request, 'what' | 'passing'>): unknown {
    if (!(error instanceof HttpError)) return error;
    const { status, said = '', transient, costly, retryAfter, reason } = error.details;
    if (error.code === 'denied') return this.#denied(error, what);
    if (error.code === 'unreachable') return this.#unreachable(error);
    // Some registries miss a blob for a moment while somebody else uploads the same one.
    const passes =
      transient || (status !== undefined && passing.includes(status)) || /MANIFEST_BLOB_UNKNOWN/.test(said);
    const why = error.code === 'status' ? reason?.replace(/^HTTP (\d+),/, '$1') : reason;
    return new OciError(
      codeOf(error),
      `${this.registry}/${this.repository}: could not ${what}: ${why}.`,
      { status, transient: passes, costly, retryAfter },
      { cause: error },
    );
  }

  /** Makes a request; asked for credentials, it gives them and asks again. */
  async #authorized<T>(request: Request, ask: (options: HttpRequest) => Promise<T>): Promise<T> {
    const scope = `repository:${this.repository}:${isReading(request.method) ? 'pull' : 'pull,push'}`;
    for (let authorized = false; ; ) {
      const authorization = this.#authorization.get(scope);
      try {
        return await ask(this.#optionsOf(request, authorization));
      } catch (error) {
        if (!(error instanceof HttpError) || error.details.status !== 401) throw this.told(error, request);
        const { challenge } = error.details;
        // Somebody else may have been let in meanwhile.
        if (this.#authorization.get(scope) === authorization) {
          if (authorized || !challenge) throw this.told(error, request);
          await this.#authorizeOnce(challenge, scope, error, request);
          authorized = true;
        }
        // A stream cannot be sent twice: whoever has it makes it anew.
        if (request.body instanceof Readable) throw this.#denied(error, request.what, true);
      }
    }
  }

  #optionsOf(
    { url, method, headers, body, accept, limits, signal }: Request,
    authorization?: string,
  ): HttpRequest {
    // A storage behind the registry must not be shown the registry's token.
    const own = url.host === new URL(this.base).host;
    return {
      method,
      headers: { ...headers, authorization: own ? authorization : undefined },
      body,
      accept,
      limits: { ...limits, ...this.options.limits },
      signal,
      // What is done again is more than the request: see `patiently`.
      attempts: 1,
    };
  }

  /** However many requests want to be let in at the same time, it is asked for once. */
  #authorizeOnce(challenge: string, scope: string, refusal: HttpError, request: Request): Promise<void> {
    let running = this.#authorizing.get(scope);
    if (!running) {
      running = this.#authorize(challenge, scope, refusal, request).finally(() =>
        this.#authorizing.delete(scope),
      );
      this.#authorizing.set(scope, running);
    }
    return running;
  }

  async #authorize(challenge: string, scope: string, refusal: HttpError, request: Request): Promise<void> {
    const credentials = await this.options.credentials?.();
    const { username, password, identityToken } = credentials ?? {};
    const basic =
      username === undefined || identityToken
        ? undefined
        : `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
    if (/^basic/i.test(challenge)) {
      if (!basic) throw this.#denied(refusal, request.what);
      this.#authorization.set(scope, basic);
      return;
    }
    const url = tokenUrl(challenge, scope);
    if (!url) throw this.#denied(refusal, request.what);
    const ask = identityToken ? exchange(url, identityToken) : { url, headers: { authorization: basic } };
    this.#authorization.set(scope, `Bearer ${await this.#token(ask, request.signal)}`);
  }

  async #token({ url, ...request }: TokenRequest, signal: AbortSignal | undefined): Promise<string> {
    const what = 'ask for a token';
    try {
      const { limits } = this.options;
      const options = { ...request, limits, limit: tokenLimit, signal, attempts: 1 };
      const answer = (await client().request(url, options)).json() as {
        token?: string;
        access_token?: string;
      };
      const token = answer.token ?? answer.access_token;
      if (typeof token === 'string') return token;
    } catch (error) {
      throw this.told(error, { what });
    }
    throw new OciError(
      'malformed',
      `${this.registry}/${this.repository}: could not ${what}: the answer has none.`,
    );
  }

  #denied({ details }: HttpError, what: string, transient = false): OciError {
    const { status, said } = details;
    const name = `${this.registry}/${this.repository}`;
    const did = status === 403 ? `does not let us ${what}` : 'refused the credentials';
    return new OciError(
      'denied',
      `${name} ${did} (${status})${said ? `: ${said.replace(/\.$/, '')}` : ''}.`,
      {
        status,
        transient,
        hint: `Log in with "docker login ${this.registry}", or give a user and password or token.`,
      },
    );
  }

  #unreachable(error: HttpError): OciError {
    const { reason, transient, costly } = error.details;
    const hint = /does not speak TLS/.test(reason ?? '')
      ? 'Write oci+http:// for a registry without TLS.'
      : error.hint;
    const message = `${this.base} can't be reached: ${reason}.`;
    return new OciError('unavailable', message, { transient, costly, hint }, { cause: error });
  }
}

/** The error that is thrown after several attempts. */
export function gaveUp(error: Error, attempts: number): Error {
  if (!(error instanceof OciError)) return error;
  const details = { ...error.details, attempts };
  return new OciError(error.code, `${error.message} Tried ${attempts} times.`, details, { cause: error });
}

function codeOf({ code, details: { status = 0, transient } }: HttpError): OciError['code'] {
  if (code === 'too-large') return 'too-large';
  if (code === 'invalid') return 'invalid';
  if (code !== 'status' || transient) return 'unavailable';
  return status === 404 ? 'not-found' : 'refused';
}

function isReading(method: string): boolean {
  return method === 'GET' || method === 'HEAD';
}

/** What a token server is asked. */
interface TokenRequest {
  readonly url: URL;
  readonly method?: string;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body?: Uint8Array;
}

/** Exchanges an identity token for access (distribution specification, OAuth2 token authentication). */
function exchange(asked: URL, identityToken: string): TokenRequest {
  const url = new URL(asked);
  const form = new URLSearchParams({
    grant_type: 'refresh_token',
    client_id: 'stackwright',
    refresh_token: identityToken,
    service: asked.searchParams.get('service') ?? '',
    scope: asked.searchParams.get('scope') ?? '',
  });
  url.search = '';
  return {
    url,
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: Buffer.from(form.toString()),
  };
}

/** Where a bearer challenge says that tokens come from (distribution specification, token authentication). */
function tokenUrl(challenge: string, scope: string): URL | undefined {
  const parameter = (name: string) => new RegExp(`${name}="([^"]*)"`).exec(challenge)?.[1];
  const realm = parameter('realm');
  if (!realm || !URL.canParse(realm)) return undefined;
  const url = new URL(realm);
  const service = parameter('service');
  if (service) url.searchParams.set('service', service);
  url.searchParams.set('scope', scope);
  return url;
}
