import { pipeline, Readable } from 'node:stream';
import { type HttpAnswer, type HttpStream, isLoopback, resumed } from '@stackwright/http';
import { type Descriptor, type Digest, manifestTypes, mediaTypes } from './descriptor.js';
import { CheckedStream, digestOf } from './digest.js';
import { OciError } from './error.js';
import { descriptorsIn } from './referrers.js';
import { type ImageSource, manifestLimit } from './source.js';
import { gaveUp, type RegistryOptions, type Request, Transport } from './transport.js';

/** Bytes of answers that are read into memory, besides manifests: pages of tags, and what nobody looks at. */
const tagsLimit = 16 * 1024 * 1024;
const answerLimit = 64 * 1024;
/** Bytes a second at which a registry is expected to store an upload before it answers. */
const storing = 16 * 1024 * 1024;

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
    const host = registry === 'docker.io' ? 'registry-1.docker.io' : registry;
    const base = `${(options.http ?? isLoopback(registry)) ? 'http' : 'https'}://${host}`;
    this.name = `${registry}/${repository}`;
    this.#transport = new Transport(registry, repository, base, options);
  }

  async manifest(
    tagOrDigest: string,
    signal?: AbortSignal,
  ): Promise<{ descriptor: Descriptor; bytes: Buffer } | undefined> {
    return this.#transport.patiently(async () => {
      const answer = await this.#transport.read(
        {
          method: 'GET',
          url: this.#url(`manifests/${tagOrDigest}`),
          what: `read the manifest ${tagOrDigest}`,
          accept: [200, 404],
          headers: { accept: manifestTypes.join(', ') },
          signal,
        },
        manifestLimit,
      );
      return answer.status === 404 ? undefined : this.#checkedManifest(tagOrDigest, answer);
    }, signal);
  }

  /** Describes a tag's or digest's manifest without reading it; undefined when there is none. */
  async head(tagOrDigest: string, signal?: AbortSignal): Promise<Descriptor | undefined> {
    const answer = await this.#simple({
      method: 'HEAD',
      url: this.#url(`manifests/${tagOrDigest}`),
      what: `look up ${tagOrDigest}`,
      accept: [200, 404],
      headers: { accept: manifestTypes.join(', ') },
      signal,
    });
    if (answer.status === 404) return undefined;
    return {
      mediaType: answer.header('content-type') ?? mediaTypes.manifest,
      digest: (answer.header('docker-content-digest') ?? '') as Digest,
      size: Number(answer.header('content-length') ?? 0),
    };
  }

  /** A download that breaks off goes on from there. Content other than promised fails at its end. */
  async blob(descriptor: Descriptor, signal?: AbortSignal): Promise<Readable> {
    const first = await this.#openBlob(descriptor, 0, signal);
    const check = new CheckedStream(descriptor, `${this.name}: blob ${descriptor.digest}`);
    const bytes = Readable.from(this.#resumed(first, descriptor, signal), { objectMode: false });
    // An error reaches who reads `check`; whoever leaves early ends the download.
    return pipeline(bytes, check, () => {});
  }

  /** Whether the repository holds a blob. */
  async has({ digest }: Pick<Descriptor, 'digest'>, signal?: AbortSignal): Promise<boolean> {
    const answer = await this.#simple({
      method: 'HEAD',
      url: this.#url(`blobs/${digest}`),
      what: `look up the blob ${digest}`,
      accept: [200, 404],
      signal,
    });
    return answer.status === 200;
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
    await this.#simple({
      method: 'PUT',
      url: this.#url(`manifests/${tagOrDigest}`),
      what: `write the manifest ${tagOrDigest}`,
      accept: [201, 202],
      headers: { 'content-type': mediaType },
      body: bytes,
      signal,
    });
    return { mediaType, digest: digestOf(bytes), size: bytes.length };
  }

  /**
   * The manifests that name one as their subject, page after page (distribution spec 1.1); undefined where the registry
   * does not have this.
   * @throws OciError `malformed`
   */
  async referrers(digest: Digest, signal?: AbortSignal): Promise<readonly Descriptor[] | undefined> {
    const found: Descriptor[] = [];
    const read = new Set<string>();
    for (let at: URL | undefined = this.#url(`referrers/${digest}`); at && !read.has(at.href); ) {
      read.add(at.href);
      const request = { method: 'GET', url: at, what: `list the referrers of ${digest}`, signal };
      const answer: HttpAnswer = await this.#transport.patiently(
        () => this.#transport.read({ ...request, accept: [200, 400, 404, 405] }, tagsLimit),
        signal,
      );
      if (answer.status !== 200) return undefined;
      found.push(...descriptorsIn(answer.bytes, `${this.name}: the list of referrers of ${digest}`));
      at = this.#nextPage(answer);
    }
    return found;
  }

  /** Deletes a manifest by its digest. Returns false where there was none. */
  async deleteManifest(digest: string, signal?: AbortSignal): Promise<boolean> {
    const answer = await this.#simple({
      method: 'DELETE',
      url: this.#url(`manifests/${digest}`),
      what: `delete the manifest ${digest}`,
      accept: [200, 202, 404],
      signal,
    });
    return answer.status !== 404;
  }

  /**
   * All tags, page after page; their order is the registry's. None where the repository does not exist.
   * @throws OciError `malformed` when the pages lead back to one that was read
   */
  async *tags(signal?: AbortSignal): AsyncGenerator<string> {
    const read = new Set<string>();
    for (let at: URL | undefined = this.#url('tags/list?n=1000'); at; ) {
      if (read.has(at.href)) {
        throw new OciError('malformed', `${this.name}: the pages of the tag list lead in a circle.`);
      }
      read.add(at.href);
      const page: { tags: readonly string[]; next: URL | undefined } = await this.#tagPage(at, signal);
      yield* page.tags;
      at = page.next;
    }
  }

  async #tagPage(
    url: URL,
    signal?: AbortSignal,
  ): Promise<{ tags: readonly string[]; next: URL | undefined }> {
    return this.#transport.patiently(async () => {
      const request = { method: 'GET', url, what: 'list the tags', accept: [200, 404], signal };
      const answer = await this.#transport.read(request, tagsLimit);
      if (answer.status === 404) return { tags: [], next: undefined };
      const { tags } = parsed(answer, (error) => this.#transport.told(error, request)) as {
        tags?: string[] | null;
      };
      return { tags: tags ?? [], next: this.#nextPage(answer) };
    }, signal);
  }

  #nextPage(answer: HttpAnswer): URL | undefined {
    const link = /<([^>]+)>\s*;\s*rel="?next"?/.exec(answer.header('link') ?? '')?.[1];
    return link ? new URL(link, this.#transport.base) : undefined;
  }

  #url(path: string): URL {
    return new URL(`${this.#transport.base}/v2/${this.repository}/${path}`);
  }

  /** A request whose answer has no content that matters, patiently. */
  #simple(request: Request): Promise<HttpAnswer> {
    return this.#transport.patiently(() => this.#transport.read(request, answerLimit), request.signal);
  }

  #checkedManifest(tagOrDigest: string, answer: HttpAnswer): { descriptor: Descriptor; bytes: Buffer } {
    const { bytes } = answer;
    const digest = digestOf(bytes);
    const promised = tagOrDigest.startsWith('sha256:') ? tagOrDigest : answer.header('docker-content-digest');
    if (promised?.startsWith('sha256:') && promised !== digest) {
      throw new OciError(
        'mismatch',
        `${this.name}: the manifest ${tagOrDigest} has the digest ${digest} instead of ${promised}.`,
        { transient: true },
      );
    }
    const mediaType = answer.header('content-type')?.split(';')[0]?.trim() ?? mediaTypes.manifest;
    return { descriptor: { mediaType, digest, size: bytes.length }, bytes };
  }

  #openBlob({ digest }: Descriptor, offset: number, signal?: AbortSignal): Promise<HttpStream> {
    const request: Request = {
      method: 'GET',
      url: this.#url(`blobs/${digest}`),
      what: `read the blob ${digest}`,
      accept: [200, 206],
      headers: offset > 0 ? { range: `bytes=${offset}-` } : {},
      signal,
    };
    return this.#transport.patiently(() => this.#transport.stream(request), signal);
  }

  async *#resumed(first: HttpStream, descriptor: Descriptor, signal?: AbortSignal): AsyncGenerator<Buffer> {
    // All that the server has, even when it is not what was promised: that is for the check to say.
    const size = Math.min(descriptor.size, Number(first.header('content-length') ?? descriptor.size));
    const open = async (offset: number): Promise<Readable> => {
      const { status, body } = await this.#openBlob(descriptor, offset, signal);
      // A server that knows no ranges sends all of it again.
      return status === 206 ? body : Readable.from(without(body, offset), { objectMode: false });
    };
    const { policy } = this.#transport;
    try {
      yield* resumed(first.body, open, { policy, signal, size, gaveUp: brokeOff(this.name, descriptor) });
    } catch (error) {
      throw this.#transport.told(error, { what: `read the blob ${descriptor.digest}` });
    }
  }

  /** Where to send a blob to; undefined when it was taken over from another repository. */
  async #startUpload(
    { digest }: Pick<Descriptor, 'digest'>,
    from: string | undefined,
    signal?: AbortSignal,
  ): Promise<URL | undefined> {
    // With attempts of its own: else a blob would fail as soon as its two requests together used up theirs.
    const start = (mount: string) =>
      this.#simple({
        method: 'POST',
        url: this.#url(`blobs/uploads/${mount}`),
        what: `start an upload of ${digest}`,
        accept: [201, 202],
        headers: { 'content-length': '0' },
        signal,
      });
    let session: HttpAnswer;
    try {
      session = await start(from ? `?mount=${digest}&from=${encodeURIComponent(from)}` : '');
    } catch (error) {
      // Who may not read the other repository, or asks a registry that knows no mounting, sends the bytes.
      if (!from || !(error instanceof OciError) || error.details.transient) throw error;
      session = await start('');
    }
    if (session.status === 201) return undefined;
    const location = session.header('location');
    if (!location) throw new OciError('malformed', `${this.name} opened an upload without saying where.`);
    const target = new URL(location, this.#transport.base);
    target.searchParams.set('digest', digest);
    return target;
  }

  async #send(
    { digest, size }: Pick<Descriptor, 'digest' | 'size'>,
    url: URL,
    content: Readable,
    signal?: AbortSignal,
  ): Promise<void> {
    // Before it answers, a registry may read all of it again, or copy it to where it stays.
    const answer = 60_000 + (size / storing) * 1000;
    await this.#transport.read(
      {
        method: 'PUT',
        url,
        what: `upload ${digest}`,
        accept: [201],
        passing: uploadStatuses,
        headers: { 'content-type': 'application/octet-stream', 'content-length': String(size) },
        body: content,
        limits: { answer, total: 2 * answer },
        signal,
      },
      answerLimit,
    );
  }
}

/** A body without its first bytes. */
async function* without(body: Readable, bytes: number): AsyncGenerator<Buffer> {
  let skip = bytes;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    const rest = chunk.subarray(Math.min(skip, chunk.length));
    skip -= chunk.length - rest.length;
    if (rest.length > 0) yield rest;
  }
}

function brokeOff(name: string, { digest }: Descriptor): (error: Error, attempts: number) => Error {
  return (error, attempts) =>
    gaveUp(
      new OciError(
        'unavailable',
        `${name}: the blob ${digest} broke off: ${error.message.replace(/\.$/, '')}.`,
        {},
        { cause: error },
      ),
      attempts,
    );
}

/** @throws what `told` makes of an answer that is not JSON */
function parsed(answer: HttpAnswer, told: (error: unknown) => unknown): unknown {
  try {
    return answer.json();
  } catch (error) {
    throw told(error);
  }
}
