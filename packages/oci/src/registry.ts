import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Dispatcher, RequestInit, Response } from 'undici';
import { type Descriptor, type Digest, manifestTypes, mediaTypes } from './descriptor.js';
import { CheckedStream, digestOf } from './digest.js';
import { OciError } from './error.js';
import type { ImageSource } from './source.js';

export interface Credentials {
  readonly username: string;
  readonly password: string;
}

export interface RegistryOptions {
  /** Plain HTTP. Registries on the loopback interface are asked by HTTP without being told to. */
  readonly http?: boolean;
  /** Asked once, when the registry wants to know who calls. */
  readonly credentials?: () => Promise<Credentials | undefined>;
  /** How often a request that failed for a passing reason is made in all; 5 by default. */
  readonly attempts?: number;
}

const statusesToRetry = new Set([408, 425, 429, 500, 502, 503, 504]);

/** One repository of a registry (OCI distribution spec 1.1). */
export class RegistryRepository implements ImageSource {
  readonly name: string;
  readonly #base: string;
  readonly #options: RegistryOptions;
  #dispatcher: Dispatcher | undefined;
  // One token a scope; a refused one is asked for again.
  readonly #authorization = new Map<string, string>();

  /** @param registry host with optional port; @param repository name without the registry */
  constructor(
    readonly registry: string,
    readonly repository: string,
    options: RegistryOptions = {},
  ) {
    const local = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?$/.test(registry);
    const host = registry === 'docker.io' ? 'registry-1.docker.io' : registry;
    this.#base = `${(options.http ?? local) ? 'http' : 'https'}://${host}`;
    this.name = `${registry}/${repository}`;
    this.#options = options;
  }

  async manifest(
    tagOrDigest: string,
    signal?: AbortSignal,
  ): Promise<{ descriptor: Descriptor; bytes: Buffer } | undefined> {
    const response = await this.#request(
      'GET',
      `manifests/${tagOrDigest}`,
      { accept: manifestTypes.join(', ') },
      signal,
    );
    if (response.status === 404) return undefined;
    await this.#expect(response, [200], `read the manifest ${tagOrDigest}`);
    const bytes = Buffer.from(await response.arrayBuffer());
    const digest = digestOf(bytes);
    const promised = tagOrDigest.startsWith('sha256:')
      ? tagOrDigest
      : response.headers.get('docker-content-digest');
    if (promised?.startsWith('sha256:') && promised !== digest) {
      throw new OciError(
        'input',
        `${this.name}: the manifest ${tagOrDigest} has the digest ${digest} instead of ${promised}.`,
      );
    }
    const mediaType = response.headers.get('content-type')?.split(';')[0]?.trim() ?? mediaTypes.manifest;
    return { descriptor: { mediaType, digest, size: bytes.length }, bytes };
  }

  /** Describes a tag's or digest's manifest without reading it; undefined when there is none. */
  async head(tagOrDigest: string, signal?: AbortSignal): Promise<Descriptor | undefined> {
    const response = await this.#request(
      'HEAD',
      `manifests/${tagOrDigest}`,
      { accept: manifestTypes.join(', ') },
      signal,
    );
    if (response.status === 404) return undefined;
    await this.#expect(response, [200], `look up ${tagOrDigest}`);
    return {
      mediaType: response.headers.get('content-type') ?? mediaTypes.manifest,
      digest: (response.headers.get('docker-content-digest') ?? '') as Digest,
      size: Number(response.headers.get('content-length') ?? 0),
    };
  }

  async blob(descriptor: Descriptor, signal?: AbortSignal): Promise<Readable> {
    const response = await this.#request('GET', `blobs/${descriptor.digest}`, {}, signal);
    await this.#expect(response, [200], `read the blob ${descriptor.digest}`);
    const check = new CheckedStream(descriptor, `${this.name}: blob ${descriptor.digest}`);
    if (!response.body) return Readable.from([]).pipe(check);
    const body = Readable.fromWeb(response.body as never);
    body.on('error', (error) => check.destroy(error));
    return body.pipe(check);
  }

  /** Whether the repository holds a blob. */
  async has(descriptor: Pick<Descriptor, 'digest'>, signal?: AbortSignal): Promise<boolean> {
    const response = await this.#request('HEAD', `blobs/${descriptor.digest}`, {}, signal);
    if (response.status === 404) return false;
    await this.#expect(response, [200], `look up the blob ${descriptor.digest}`);
    return true;
  }

  /**
   * Uploads a blob unless it is there.
   * @param open gives the content anew for each attempt
   * @param from another repository of this registry that may hold it: then nothing is sent
   * @returns whether bytes were sent
   */
  async putBlob(
    descriptor: Pick<Descriptor, 'digest' | 'size'>,
    open: () => Readable | Promise<Readable>,
    { from, signal }: { from?: string; signal?: AbortSignal } = {},
  ): Promise<boolean> {
    if (await this.has(descriptor, signal)) return false;
    for (let attempt = 1; ; attempt += 1) {
      const mount = from ? `?mount=${descriptor.digest}&from=${encodeURIComponent(from)}` : '';
      const session = await this.#request(
        'POST',
        `blobs/uploads/${mount}`,
        { 'content-length': '0' },
        signal,
      );
      if (session.status === 201) return false;
      await this.#expect(session, [202], `start an upload of ${descriptor.digest}`);
      const location = session.headers.get('location');
      if (!location) throw new OciError('failed', `${this.name} opened an upload without saying where.`);
      const target = new URL(location, this.#base);
      target.searchParams.set('digest', descriptor.digest);
      const content = await open();
      try {
        const response = await this.#request(
          'PUT',
          target,
          { 'content-type': 'application/octet-stream', 'content-length': String(descriptor.size) },
          signal,
          { body: content, once: true },
        );
        if (response.status === 201) return true;
        if (!statusesToRetry.has(response.status) || attempt >= this.#attempts) {
          await this.#expect(response, [201], `upload ${descriptor.digest}`);
        }
      } catch (error) {
        if (error instanceof OciError || signal?.aborted || attempt >= this.#attempts) throw error;
      } finally {
        content.destroy();
      }
      await this.#pause(attempt, undefined, signal);
    }
  }

  /** Uploads a manifest or index under a tag or its digest. Everything that it names has to be there already. */
  async putManifest(
    tagOrDigest: string,
    bytes: Uint8Array,
    mediaType: string,
    signal?: AbortSignal,
  ): Promise<Descriptor> {
    const response = await this.#request(
      'PUT',
      `manifests/${tagOrDigest}`,
      { 'content-type': mediaType },
      signal,
      { body: bytes },
    );
    await this.#expect(response, [201, 202], `write the manifest ${tagOrDigest}`);
    return { mediaType, digest: digestOf(bytes), size: bytes.length };
  }

  /** Deletes a manifest by its digest. Returns false where there was none. */
  async deleteManifest(digest: string, signal?: AbortSignal): Promise<boolean> {
    const response = await this.#request('DELETE', `manifests/${digest}`, {}, signal);
    if (response.status === 404) return false;
    await this.#expect(response, [200, 202], `delete the manifest ${digest}`);
    return true;
  }

  /** All tags, page after page; their order is the registry's. None where the repository does not exist. */
  async *tags(signal?: AbortSignal): AsyncGenerator<string> {
    let next: string | URL | undefined = 'tags/list?n=1000';
    while (next) {
      const response: Response = await this.#request('GET', next, {}, signal);
      if (response.status === 404) return;
      await this.#expect(response, [200], 'list the tags');
      const page = (await response.json()) as { tags?: string[] | null };
      yield* page.tags ?? [];
      const link: string | undefined = /<([^>]+)>\s*;\s*rel="?next"?/.exec(
        response.headers.get('link') ?? '',
      )?.[1];
      next = link ? new URL(link, this.#base) : undefined;
    }
  }

  get #attempts(): number {
    return this.#options.attempts ?? 5;
  }

  async #request(
    method: string,
    path: string | URL,
    headers: Record<string, string>,
    signal: AbortSignal | undefined,
    { body, once }: { body?: Uint8Array | Readable; once?: boolean } = {},
  ): Promise<Response> {
    const url = path instanceof URL ? path : new URL(`${this.#base}/v2/${this.repository}/${path}`);
    const scope = `repository:${this.repository}:${method === 'GET' || method === 'HEAD' ? 'pull' : 'pull,push'}`;
    let challenged = false;
    for (let attempt = 1; ; attempt += 1) {
      const authorization = this.#authorization.get(scope);
      let response: Response;
      try {
        response = await this.#fetch(url, {
          method,
          // A storage behind the registry must not be shown the registry's token.
          headers:
            authorization && url.host === new URL(this.#base).host ? { ...headers, authorization } : headers,
          body: body as RequestInit['body'],
          duplex: 'half',
          signal,
        });
      } catch (error) {
        if (signal?.aborted) throw error;
        if (once || attempt >= this.#attempts) throw this.#unreachable(error);
        await this.#pause(attempt, undefined, signal);
        continue;
      }
      if (response.status === 401 && !challenged) {
        challenged = true;
        await response.body?.cancel();
        await this.#authorize(response.headers.get('www-authenticate') ?? '', scope, signal);
        if (once)
          throw new OciError('failed', `${this.name} asked for credentials in the middle of an upload.`);
        continue;
      }
      if (statusesToRetry.has(response.status) && !once && attempt < this.#attempts) {
        await response.body?.cancel();
        await this.#pause(attempt, response.headers.get('retry-after') ?? undefined, signal);
        continue;
      }
      return response;
    }
  }

  async #authorize(challenge: string, scope: string, signal?: AbortSignal): Promise<void> {
    const credentials = await this.#options.credentials?.();
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
    const response = await this.#fetch(url, {
      headers: basic ? { authorization: basic } : {},
      signal,
    });
    if (!response.ok) throw this.#refused(response.status);
    const { token, access_token } = (await response.json()) as { token?: string; access_token?: string };
    this.#authorization.set(scope, `Bearer ${token ?? access_token}`);
  }

  /** The client is loaded with the first request: what stays on this machine need not wait for it. */
  async #fetch(url: URL, init: RequestInit): Promise<Response> {
    const { EnvHttpProxyAgent, fetch } = await import('undici');
    this.#dispatcher ??= new EnvHttpProxyAgent();
    return fetch(url, { ...init, dispatcher: this.#dispatcher });
  }

  async #expect(response: Response, statuses: number[], what: string): Promise<void> {
    if (statuses.includes(response.status)) return;
    const text = await response.text().catch(() => '');
    if (response.status === 401 || response.status === 403) throw this.#refused(response.status);
    const kind = response.status >= 500 || response.status === 429 ? 'failed' : 'input';
    throw new OciError(
      kind,
      `${this.name}: could not ${what}: ${response.status} ${messageOf(text) || response.statusText}.`,
      {
        status: response.status,
      },
    );
  }

  #refused(status: number): OciError {
    return new OciError('missing', `${this.name} refused the credentials (${status}).`, {
      status,
      hint: `Log in with "docker login ${this.registry}", or give a user and password or token.`,
    });
  }

  #unreachable(error: unknown): OciError {
    const cause = (error as Error).cause as Error | undefined;
    const why = cause?.message || (cause as { code?: string } | undefined)?.code || (error as Error).message;
    return new OciError('missing', `${this.#base} can't be reached: ${why}.`, {}, { cause: error });
  }

  /** Waits longer after each failure, never in step with other clients, and as long as the server asks, up to a minute. */
  async #pause(attempt: number, retryAfter: string | undefined, signal?: AbortSignal): Promise<void> {
    const asked = Number(retryAfter) * 1000;
    const backOff = Math.random() * Math.min(200 * 2 ** attempt, 10_000);
    await sleep(asked > 0 ? Math.min(asked, 60_000) : backOff, undefined, { signal });
  }
}

function messageOf(text: string): string {
  try {
    const { errors } = JSON.parse(text) as { errors?: { code?: string; message?: string }[] };
    return (errors ?? []).map(({ code, message }) => `${code ?? ''} ${message ?? ''}`.trim()).join('; ');
  } catch {
    return text.slice(0, 200).trim();
  }
}
