import { createHash } from 'node:crypto';
import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import type { Readable } from 'node:stream';
import {
  CopyObjectCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  type S3ClientConfig,
} from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import { StorageError } from './error.js';
import type { OpenOptions } from './open.js';
import { resuming } from './resume.js';
import { defaultRetry, isTransientCause, isTransientStatus, type RetryPolicy, retrying } from './retry.js';
import {
  type Content,
  checkKey,
  type GetOptions,
  type ObjectInfo,
  type ObjectStore,
  type PutOptions,
  type StorageEvent,
  type StoredObject,
  sizeOf,
  type Wait,
} from './store.js';

/** Bytes from which on an object is sent in parts. */
const partSize = 8 * 1024 * 1024;

/** Objects of an S3 bucket, of Amazon's or any server that speaks its protocol. */
export class S3Store implements ObjectStore {
  readonly url: string;
  readonly readOnly = false;
  readonly canList = true;
  #conditional = true;

  /**
   * Opens `s3://BUCKET/PREFIX`. Credentials come from the environment, a profile, a web identity or the machine's role;
   * where none of them has any, requests go out unsigned, which public buckets answer.
   */
  static async open(url: string, options: OpenOptions = {}): Promise<S3Store> {
    const match = /^s3:\/\/([^/?#]+)\/?([^?#]*)$/i.exec(url);
    if (!match) {
      throw new StorageError('invalid', `${url} is no S3 address.`, { hint: 'Write s3://BUCKET/PREFIX.' });
    }
    // The SDK warns on stderr, at each start, that it will want a newer Node one day.
    process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] ??= 'true';
    const config = configOf(options);
    let anonymous = options.anonymous ?? false;
    let client = new S3Client(anonymous ? unsigned(config) : config);
    if (!anonymous && !config.credentials) {
      try {
        await client.config.credentials();
      } catch (error) {
        if (options.profile) {
          throw new StorageError('denied', `Profile "${options.profile}": ${(error as Error).message}.`);
        }
        client.destroy();
        anonymous = true;
        client = new S3Client(unsigned(config));
      }
    }
    const uploads = new S3Client({
      ...(anonymous ? unsigned(config) : config),
      maxAttempts: (options.retry ?? defaultRetry).attempts,
    });
    const prefix = (match[2] ?? '').replace(/^\/+|\/+$/g, '');
    return new S3Store(client, uploads, match[1]!, prefix, anonymous, config.endpoint !== undefined, options);
  }

  readonly #policy: RetryPolicy;
  readonly #onEvent: ((event: StorageEvent) => void) | undefined;

  private constructor(
    private readonly client: S3Client,
    /** Retries each part by itself; the parts are in memory, so that it can. */
    private readonly uploads: S3Client,
    private readonly bucket: string,
    private readonly prefix: string,
    private readonly anonymous: boolean,
    private readonly ownEndpoint: boolean,
    options: OpenOptions,
  ) {
    this.url = `s3://${bucket}${prefix ? `/${prefix}` : ''}`;
    this.#policy = options.retry ?? defaultRetry;
    this.#onEvent = options.onEvent;
  }

  /** False once the server has answered that it knows no conditional writes. */
  get conditional(): boolean {
    return this.#conditional;
  }

  async get(key: string, options: GetOptions = {}): Promise<StoredObject> {
    const { start = 0, end } = options.range ?? {};
    const open = (offset: number) =>
      this.#try('get', key, options.signal, async () => {
        const from = start + offset;
        const Range = from > 0 || end !== undefined ? `bytes=${from}-${end ?? ''}` : undefined;
        const answer = await this.client.send(
          new GetObjectCommand({ Bucket: this.bucket, Key: this.#key(key), Range }),
          { abortSignal: options.signal },
        );
        return {
          key,
          size: answer.ContentLength,
          etag: answer.ETag,
          modified: answer.LastModified,
          body: answer.Body as Readable,
        };
      });
    return resuming(open, { key, policy: this.#policy, signal: options.signal, onEvent: this.#onEvent });
  }

  async head(key: string, options: Wait = {}): Promise<ObjectInfo | undefined> {
    try {
      return await this.#try('head', key, options.signal, async () => {
        const answer = await this.client.send(
          new HeadObjectCommand({ Bucket: this.bucket, Key: this.#key(key) }),
          { abortSignal: options.signal },
        );
        return { key, size: answer.ContentLength, etag: answer.ETag, modified: answer.LastModified };
      });
    } catch (error) {
      if (error instanceof StorageError && error.code === 'not-found') return undefined;
      throw error;
    }
  }

  async put(key: string, content: Content, options: PutOptions = {}): Promise<ObjectInfo> {
    if (sizeOf(content) > partSize) return this.#putInParts(key, content, options);
    const bytes = content instanceof Uint8Array ? content : await collect(content, key);
    const md5 = createHash('md5').update(bytes).digest('hex');
    if (options.precondition && !this.#conditional) await this.#checkFirst(key, options);
    const conditions = this.#conditional ? this.#conditions(options) : {};
    try {
      const etag = await this.#try('put', key, options.signal, async (attempt) => {
        try {
          const answer = await this.client.send(
            new PutObjectCommand({
              Bucket: this.bucket,
              Key: this.#key(key),
              Body: bytes,
              ContentLength: bytes.byteLength,
              ContentType: options.contentType ?? 'application/octet-stream',
              ...conditions,
            }),
            { abortSignal: options.signal },
          );
          return answer.ETag;
        } catch (error) {
          // An attempt whose answer was lost may have written it: then the condition fails on our own bytes.
          if (attempt > 1 && options.precondition && statusOf(error) === 412) {
            const now = await this.head(key, options);
            if (now?.etag?.replaceAll('"', '') === md5) return now.etag;
          }
          throw error;
        }
      });
      return { key, size: bytes.byteLength, etag, modified: undefined };
    } catch (error) {
      const status = error instanceof StorageError ? error.details.status : undefined;
      if (options.precondition && this.#conditional && (status === 501 || status === 400)) {
        this.#conditional = false;
        return this.put(key, bytes, options);
      }
      if (options.precondition && 'match' in options.precondition && status === 404)
        throw replaced(this, key);
      throw error;
    }
  }

  async *list(prefix: string, options: Wait = {}): AsyncIterable<ObjectInfo> {
    const full = this.prefix ? `${this.prefix}/${prefix}` : prefix;
    const cut = this.prefix ? this.prefix.length + 1 : 0;
    let token: string | undefined;
    do {
      const page = await this.#try('list', prefix, options.signal, () =>
        this.client.send(
          new ListObjectsV2Command({ Bucket: this.bucket, Prefix: full, ContinuationToken: token }),
          { abortSignal: options.signal },
        ),
      );
      for (const entry of page.Contents ?? []) {
        // Folder marks of graphical clients are no objects of ours.
        if (!entry.Key || entry.Key.endsWith('/')) continue;
        yield {
          key: entry.Key.slice(cut),
          size: entry.Size,
          etag: entry.ETag,
          modified: entry.LastModified,
        };
      }
      token = page.IsTruncated ? page.NextContinuationToken : undefined;
    } while (token);
  }

  async copy(from: string, to: string, options: Wait = {}): Promise<void> {
    const source = `${this.bucket}/${this.#key(from)}`.split('/').map(encodeURIComponent).join('/');
    const info = await this.head(from, options);
    // One request copies 5 GiB at most.
    if ((info?.size ?? 0) > 5 * 1024 ** 3) {
      const { size = 0, body } = await this.get(from, options);
      await this.put(to, { size, open: () => body }, options);
      return;
    }
    await this.#try('copy', from, options.signal, () =>
      this.client.send(
        new CopyObjectCommand({ Bucket: this.bucket, Key: this.#key(to), CopySource: source }),
        { abortSignal: options.signal },
      ),
    );
  }

  async delete(keys: Iterable<string> | AsyncIterable<string>, options: Wait = {}): Promise<number> {
    let count = 0;
    let batch: string[] = [];
    const flush = async () => {
      if (batch.length > 0) await this.#deleteBatch(batch, options);
      count += batch.length;
      batch = [];
    };
    for await (const key of keys) {
      batch.push(key);
      if (batch.length === 1000) await flush();
    }
    await flush();
    return count;
  }

  async close(): Promise<void> {
    this.client.destroy();
    this.uploads.destroy();
  }

  async #deleteBatch(keys: readonly string[], options: Wait): Promise<void> {
    try {
      const answer = await this.#try('delete', keys[0]!, options.signal, () =>
        this.client.send(
          new DeleteObjectsCommand({
            Bucket: this.bucket,
            Delete: { Quiet: true, Objects: keys.map((key) => ({ Key: this.#key(key) })) },
          }),
          { abortSignal: options.signal },
        ),
      );
      const refused = answer.Errors?.[0];
      if (refused) {
        throw new StorageError(
          refused.Code === 'AccessDenied' ? 'denied' : 'unavailable',
          `Cannot delete ${this.url}/${refused.Key}: ${refused.Message ?? refused.Code}.`,
          { store: this.url, key: refused.Key },
        );
      }
    } catch (error) {
      const status = error instanceof StorageError ? error.details.status : undefined;
      if (status !== 400 && status !== 411 && status !== 501) throw error;
      // Servers that want a Content-MD5 for the batch, or know no batch.
      for (const key of keys) {
        await this.#try('delete', key, options.signal, () =>
          this.client.send(new DeleteObjectCommand({ Bucket: this.bucket, Key: this.#key(key) }), {
            abortSignal: options.signal,
          }),
        );
      }
    }
  }

  async #putInParts(key: string, content: Content, options: PutOptions): Promise<ObjectInfo> {
    // Not all servers heed a condition on a multipart upload, so it is asked before. Only blobs are this large,
    // and they are named by their content.
    if (options.precondition) await this.#checkFirst(key, options);
    const size = sizeOf(content);
    return this.#try('put', key, options.signal, async () => {
      const upload = new Upload({
        client: this.uploads,
        params: {
          Bucket: this.bucket,
          Key: this.#key(key),
          Body: content instanceof Uint8Array ? Buffer.from(content) : content.open(),
          ContentType: options.contentType ?? 'application/octet-stream',
        },
        partSize: Math.max(partSize, Math.ceil(size / 9000)),
        queueSize: 3,
        leavePartsOnError: false,
      });
      const abort = () => void upload.abort();
      options.signal?.addEventListener('abort', abort, { once: true });
      try {
        const answer = await upload.done();
        return { key, size, etag: answer.ETag || undefined, modified: undefined };
      } finally {
        options.signal?.removeEventListener('abort', abort);
      }
    });
  }

  async #checkFirst(key: string, options: PutOptions): Promise<void> {
    const now = await this.head(key, options);
    const { precondition } = options;
    const holds = precondition && 'match' in precondition ? now?.etag === precondition.match : !now;
    if (!holds) throw replaced(this, key);
  }

  #conditions(options: PutOptions): { IfMatch?: string; IfNoneMatch?: string } {
    const { precondition } = options;
    if (!precondition) return {};
    if ('absent' in precondition) return { IfNoneMatch: '*' };
    // Ceph compares the header with its quotes to an etag without.
    return { IfMatch: this.ownEndpoint ? precondition.match.replaceAll('"', '') : precondition.match };
  }

  #key(key: string): string {
    return this.prefix ? `${this.prefix}/${checkKey(key)}` : checkKey(key);
  }

  #try<T>(
    operation: string,
    key: string,
    signal: AbortSignal | undefined,
    work: (attempt: number) => Promise<T>,
  ): Promise<T> {
    return retrying(
      this.#policy,
      async (attempt) => {
        try {
          return await work(attempt);
        } catch (error) {
          signal?.throwIfAborted();
          // What the content's own stream failed with is its owner's to tell.
          if (error instanceof Error && 'kind' in error) throw error;
          throw this.#translate(operation, key, error);
        }
      },
      {
        signal,
        onRetry: (attempt, delay, error) =>
          this.#onEvent?.({ type: 'retry', operation, key, attempt, delay, reason: error.message }),
      },
    );
  }

  #translate(operation: string, key: string, error: unknown): StorageError {
    if (error instanceof StorageError) return error;
    const status = statusOf(error);
    const { name, message } = error as Error;
    const at = `${this.url}/${key}`;
    const details = { store: this.url, key, status };
    const options = { cause: error };
    if (status === 404 && name !== 'NoSuchBucket') {
      return new StorageError('not-found', `${at}: no such object.`, details, options);
    }
    if (name === 'NoSuchBucket') {
      return new StorageError(
        'invalid',
        `There is no bucket "${this.bucket}".`,
        { ...details, hint: 'Check the name and the endpoint (S3_ENDPOINT_URL).' },
        options,
      );
    }
    if (status === 412 || status === 409) {
      return new StorageError(
        'precondition',
        `${at} was written by another process meanwhile.`,
        details,
        options,
      );
    }
    if (status === 401 || status === 403) {
      const hint = this.anonymous
        ? 'No credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE.'
        : 'Check the credentials and what they allow.';
      return new StorageError(
        'denied',
        `Cannot ${operation} ${at}: ${['Error', 'Unknown', 'UnknownError', '403'].includes(name) ? `access denied (HTTP ${status})` : name}.`,
        { ...details, hint },
        options,
      );
    }
    if (name === 'CredentialsProviderError') {
      return new StorageError('denied', `No S3 credentials: ${message}`, details, options);
    }
    const transient = (status !== undefined && isTransientStatus(status)) || isTransientCause(error);
    return new StorageError(
      'unavailable',
      `Cannot ${operation} ${at}: ${status !== undefined && status >= 300 ? `HTTP ${status}, ` : ''}${message || name}.`,
      { ...details, transient },
      options,
    );
  }
}

function configOf(options: OpenOptions): S3ClientConfig {
  const env = options.env ?? process.env;
  const endpoint =
    options.endpoint ?? env['S3_ENDPOINT_URL'] ?? env['S3_ENDPOIT_URL'] ?? env['AWS_ENDPOINT_URL_S3'];
  const profile = options.profile ?? env['AWS_PROFILE'];
  const region = options.region ?? env['AWS_REGION'] ?? env['AWS_DEFAULT_REGION'];
  const accessKeyId = env['AWS_ACCESS_KEY_ID'];
  const secretAccessKey = env['AWS_SECRET_ACCESS_KEY'];
  return {
    ...(endpoint
      ? { endpoint: endpoint.includes('://') ? endpoint : `https://${endpoint}`, forcePathStyle: true }
      : {}),
    ...(region || !profile ? { region: region || 'us-east-1' } : {}),
    ...(options.profile || !accessKeyId || !secretAccessKey
      ? { ...(profile ? { profile } : {}) }
      : { credentials: { accessKeyId, secretAccessKey, sessionToken: env['AWS_SESSION_TOKEN'] } }),
    // Older servers refuse the checksums that newer SDKs add of their own accord.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    maxAttempts: 1,
    requestHandler: new NodeHttpHandler({
      connectionTimeout: 20_000,
      requestTimeout: 120_000,
      httpAgent: new HttpAgent({ keepAlive: true, maxSockets: 64 }),
      httpsAgent: new HttpsAgent({ keepAlive: true, maxSockets: 64 }),
    }),
  };
}

function unsigned(config: S3ClientConfig): S3ClientConfig {
  return {
    ...config,
    credentials: { accessKeyId: 'anonymous', secretAccessKey: '' },
    signer: { sign: async (request) => request },
  };
}

async function collect(content: Exclude<Content, Uint8Array>, key: string): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of content.open() as AsyncIterable<Buffer>) chunks.push(chunk);
  const bytes = Buffer.concat(chunks);
  if (bytes.length !== content.size) {
    throw new StorageError(
      'truncated',
      `${key}: ${bytes.length} bytes came, ${content.size} were announced.`,
    );
  }
  return bytes;
}

function statusOf(error: unknown): number | undefined {
  return (error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode;
}

function replaced(store: ObjectStore, key: string): StorageError {
  return new StorageError('precondition', `${store.url}/${key} was written by another process meanwhile.`, {
    store: store.url,
    key,
  });
}
