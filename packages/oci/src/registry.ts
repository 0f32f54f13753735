import { pipeline, Readable } from 'node:stream';
import type { Response } from 'undici';
import { type Descriptor, type Digest, manifestTypes, mediaTypes } from './descriptor.js';
import { CheckedStream, digestOf } from './digest.js';
import { OciError } from './error.js';
import type { ImageSource } from './source.js';
import {
  brokenOff,
  PassingFailure,
  pause,
  type Request,
  readBytes,
  readJson,
  Transport,
  triedInVain,
} from './transport.js';

export interface Credentials {
  readonly username: string;
  readonly password: string;
}

export interface RegistryOptions {
  /** Plain HTTP or not. When left out, registries on the loopback interface are asked by HTTP, others by HTTPS. */
  readonly http?: boolean;
  /** Asked when the registry wants to know who calls. */
  readonly credentials?: () => Promise<Credentials | undefined>;
  /** How often what fails for a passing reason is done in all; 7 by default. */
  readonly attempts?: number;
}

/** A session that is lost, or was given less than all: the upload starts again. */
const uploadStatuses = [400, 404, 416];

/** One repository of a registry (OCI distribution spec 1.1). */
export class RegistryRepository implements ImageSource {
  readonly name: string;
  readonly #transport: Transport;

  /** @param registry host with optional port; @param repository name without the registry */
  constructor(
    readonly registry: string,
    readonly repository: string,
    options: RegistryOptions = {},
  ) {
    const local = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?$/.test(registry);
    const host = registry === 'docker.io' ? 'registry-1.docker.io' : registry;
    const base = `${(options.http ?? local) ? 'http' : 'https'}://${host}`;
    this.name = `${registry}/${repository}`;
    this.#transport = new Transport(registry, repository, base, options);
  }

  async manifest(
    tagOrDigest: string,
    signal?: AbortSignal,
  ): Promise<{ descriptor: Descriptor; bytes: Buffer } | undefined> {
    return this.#transport.patiently(async () => {
      const response = await this.#request(
        { method: 'GET', headers: { accept: manifestTypes.join(', ') }, signal },
        `manifests/${tagOrDigest}`,
        `read the manifest ${tagOrDigest}`,
        [200, 404],
      );
      const bytes = await readBytes(response);
      if (response.status === 404) return undefined;
      const digest = digestOf(bytes);
      const promised = tagOrDigest.startsWith('sha256:')
        ? tagOrDigest
        : response.headers.get('docker-content-digest');
      if (promised?.startsWith('sha256:') && promised !== digest) {
        throw new PassingFailure(
          new OciError(
            'input',
            `${this.name}: the manifest ${tagOrDigest} has the digest ${digest} instead of ${promised}.`,
          ),
        );
      }
      const mediaType = response.headers.get('content-type')?.split(';')[0]?.trim() ?? mediaTypes.manifest;
      return { descriptor: { mediaType, digest, size: bytes.length }, bytes };
    }, signal);
  }

  /** Describes a tag's or digest's manifest without reading it; undefined when there is none. */
  async head(tagOrDigest: string, signal?: AbortSignal): Promise<Descriptor | undefined> {
    const response = await this.#simple(
      { method: 'HEAD', headers: { accept: manifestTypes.join(', ') }, signal },
      `manifests/${tagOrDigest}`,
      `look up ${tagOrDigest}`,
      [200, 404],
    );
    if (response.status === 404) return undefined;
    return {
      mediaType: response.headers.get('content-type') ?? mediaTypes.manifest,
      digest: (response.headers.get('docker-content-digest') ?? '') as Digest,
      size: Number(response.headers.get('content-length') ?? 0),
    };
  }

  /** What breaks off is gone on with where it broke off; what is there is another than promised fails at its end. */
  async blob(descriptor: Descriptor, signal?: AbortSignal): Promise<Readable> {
    const first = await this.#openBlob(descriptor, 0, signal);
    const check = new CheckedStream(descriptor, `${this.name}: blob ${descriptor.digest}`);
    const bytes = Readable.from(this.#resumed(first, descriptor, signal), { objectMode: false });
    // An error reaches who reads `check`; whoever leaves early ends the download.
    return pipeline(bytes, check, () => {});
  }

  /** Whether the repository holds a blob. */
  async has({ digest }: Pick<Descriptor, 'digest'>, signal?: AbortSignal): Promise<boolean> {
    const response = await this.#simple(
      { method: 'HEAD', signal },
      `blobs/${digest}`,
      `look up the blob ${digest}`,
      [200, 404],
    );
    return response.status === 200;
  }

  /**
   * Uploads a blob unless it is there. An upload that breaks off starts again.
   * @param open gives the content anew for each attempt; its errors end the upload
   * @param from another repository of this registry that may hold it: then nothing is sent
   * @returns whether bytes were sent
   */
  async putBlob(
    descriptor: Pick<Descriptor, 'digest' | 'size'>,
    open: () => Readable | Promise<Readable>,
    { from, signal }: { from?: string; signal?: AbortSignal } = {},
  ): Promise<boolean> {
    let sent = false;
    return this.#transport.patiently(async () => {
      // Asked each time: of an upload that arrived, the answer alone may have been lost.
      if (await this.has(descriptor, signal)) return sent;
      const target = await this.#startUpload(descriptor, from, signal);
      if (!target) return false;
      sent = true;
      await this.#send(descriptor, target, await open(), signal);
      return true;
    }, signal);
  }

  /** Uploads a manifest or index under a tag or its digest. Everything that it names has to be there already. */
  async putManifest(
    tagOrDigest: string,
    bytes: Uint8Array,
    mediaType: string,
    signal?: AbortSignal,
  ): Promise<Descriptor> {
    await this.#simple(
      { method: 'PUT', headers: { 'content-type': mediaType }, body: bytes, signal },
      `manifests/${tagOrDigest}`,
      `write the manifest ${tagOrDigest}`,
      [201, 202],
    );
    return { mediaType, digest: digestOf(bytes), size: bytes.length };
  }

  /** Deletes a manifest by its digest. Returns false where there was none. */
  async deleteManifest(digest: string, signal?: AbortSignal): Promise<boolean> {
    const response = await this.#simple(
      { method: 'DELETE', signal },
      `manifests/${digest}`,
      `delete the manifest ${digest}`,
      [200, 202, 404],
    );
    return response.status !== 404;
  }

  /** All tags, page after page; their order is the registry's. None where the repository does not exist. */
  async *tags(signal?: AbortSignal): AsyncGenerator<string> {
    for (let next: string | URL | undefined = 'tags/list?n=1000'; next; ) {
      const at: string | URL = next;
      const page = await this.#transport.patiently(async () => {
        const response = await this.#request({ method: 'GET', signal }, at, 'list the tags', [200, 404]);
        const { tags } = await readJson<{ tags?: string[] | null }>(response);
        const link = /<([^>]+)>\s*;\s*rel="?next"?/.exec(response.headers.get('link') ?? '')?.[1];
        return { tags: response.status === 404 ? [] : (tags ?? []), link };
      }, signal);
      yield* page.tags;
      next = page.link ? new URL(page.link, this.#transport.base) : undefined;
    }
  }

  /** A request whose answer has no content that matters, patiently. */
  #simple(
    request: Omit<Request, 'url'>,
    path: string,
    what: string,
    statuses: readonly number[],
  ): Promise<Response> {
    return this.#transport.patiently(async () => {
      const response = await this.#request(request, path, what, statuses);
      await response.body?.cancel();
      return response;
    }, request.signal);
  }

  #request(
    request: Omit<Request, 'url'>,
    path: string | URL,
    what: string,
    statuses: readonly number[],
    retry?: readonly number[],
  ): Promise<Response> {
    const url = path instanceof URL ? path : new URL(`${this.#transport.base}/v2/${this.repository}/${path}`);
    return this.#transport.request({ ...request, url }, what, statuses, retry);
  }

  #openBlob({ digest }: Descriptor, offset: number, signal?: AbortSignal): Promise<Response> {
    const headers: Record<string, string> = offset > 0 ? { range: `bytes=${offset}-` } : {};
    return this.#transport.patiently(
      () =>
        this.#request(
          { method: 'GET', headers, signal },
          `blobs/${digest}`,
          `read the blob ${digest}`,
          [200, 206],
        ),
      signal,
    );
  }

  async *#resumed(first: Response, descriptor: Descriptor, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    let response = first;
    let offset = 0;
    for (let failures = 0; ; ) {
      // A server that knows no ranges sends all of it again.
      let skip = response.status === 206 ? 0 : offset;
      const length = Number(response.headers.get('content-length') ?? Number.NaN);
      const end = response.status === 206 ? offset + length : length;
      let why: unknown = new Error(`${offset} of ${descriptor.size} bytes came`);
      try {
        for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
          const fresh = chunk.subarray(Math.min(skip, chunk.length));
          skip -= chunk.length - fresh.length;
          if (fresh.length === 0) continue;
          offset += fresh.length;
          failures = 0;
          yield fresh;
        }
        // All that the server has, even when it is not what was promised: that is for the check to say.
        if (offset >= descriptor.size || offset >= end) return;
      } catch (error) {
        signal?.throwIfAborted();
        why = error;
      }
      failures += 1;
      if (failures >= this.#transport.attempts) throw triedInVain(brokenOff(response.url, why), failures);
      await pause(failures, undefined, signal);
      response = await this.#openBlob(descriptor, offset, signal);
    }
  }

  /** Where to send a blob to; undefined when it was taken over from another repository. */
  async #startUpload(
    { digest }: Pick<Descriptor, 'digest'>,
    from: string | undefined,
    signal?: AbortSignal,
  ): Promise<URL | undefined> {
    const start = (mount: string) =>
      this.#request(
        { method: 'POST', headers: { 'content-length': '0' }, signal },
        `blobs/uploads/${mount}`,
        `start an upload of ${digest}`,
        [201, 202],
      );
    let session: Response;
    try {
      session = await start(from ? `?mount=${digest}&from=${encodeURIComponent(from)}` : '');
    } catch (error) {
      // Who may not read the other repository, or asks a registry that knows no mounting, sends the bytes.
      if (!from || !(error instanceof OciError)) throw error;
      session = await start('');
    }
    await session.body?.cancel();
    if (session.status === 201) return undefined;
    const location = session.headers.get('location');
    if (!location) throw new OciError('failed', `${this.name} opened an upload without saying where.`);
    const target = new URL(location, this.#transport.base);
    target.searchParams.set('digest', digest);
    return target;
  }

  async #send(
    { digest, size }: Pick<Descriptor, 'digest' | 'size'>,
    target: URL,
    content: Readable,
    signal?: AbortSignal,
  ): Promise<void> {
    let broken: Error | undefined;
    content.on('error', (error) => (broken = error));
    try {
      const headers = { 'content-type': 'application/octet-stream', 'content-length': String(size) };
      const request = { method: 'PUT', headers, body: content, signal };
      const response = await this.#request(request, target, `upload ${digest}`, [201], uploadStatuses);
      await response.body?.cancel();
    } catch (error) {
      // What is wrong with the content itself is wrong the next time too.
      throw broken ?? error;
    } finally {
      content.destroy();
    }
  }
}
