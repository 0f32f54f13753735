import { createHash } from 'node:crypto';
import { addAbortSignal, type Readable } from 'node:stream';
import {
  AbortMultipartUploadCommand,
  CopyObjectCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  type ListMultipartUploadsCommandInput,
  type ListMultipartUploadsCommandOutput,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import {
  defaultRetry,
  isTransientCause,
  isTransientStatus,
  type RetryPolicy,
  retryAfterOf,
  retrying,
} from '@stackwright/http';
import { gaveUp, isNotFound, isPreconditionFailed, StorageError } from './error.js';
import { copyParts, type MultipartTarget, partSize, uploadParts } from './multipart.js';
import type { OpenOptions } from './open.js';
import { resuming } from './resume.js';
import { configOf, unsigned } from './s3-config.js';
import { nobody, refusalOf, unexplained } from './s3-refusal.js';
import {
  type Content,
  checkCount,
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

/** Bytes that one request copies at most. */
const copyLimit = 5 * 1024 ** 3;

/** Objects of an S3 bucket, of Amazon's or any server that speaks its protocol. */
export class S3Store implements ObjectStore {
  readonly url: string;
  readonly readOnly = false;
  readonly canList = true;
  #conditional = true;
  /** Whether the server refuses a condition that cannot hold, by kind, as found out with the first write of each. */
  readonly #kept = new Map<'absent' | 'match', Promise<boolean>>();
  /** Whether the server has ever answered: only then many attempts make sense while it cannot be reached. */
  #answered = false;

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
    const { config, credentials } = await configOf(options);
    let anonymous = options.anonymous ?? false;
    let client = new S3Client(anonymous ? unsigned(config) : config);
    if (!anonymous) {
      try {
        await client.config.credentials();
      } catch (error) {
        client.destroy();
        if (credentials) {
          throw new StorageError(
            'denied',
            `No S3 credentials: ${(error as Error).message.replace(/\.$/, '')}.`,
            { store: url, hint: 'To read a public bucket without any: --anonymous' },
            { cause: error },
          );
        }
        anonymous = true;
        client = new S3Client(unsigned(config));
      }
    }
    const prefix = (match[2] ?? '').replace(/^\/+|\/+$/g, '');
    return new S3Store(client, match[1]!, prefix, anonymous, config.endpoint !== undefined, options);
  }

  readonly #policy: RetryPolicy;
  readonly #onEvent: ((event: StorageEvent) => void) | undefined;

  private constructor(
    private readonly client: S3Client,
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

  /**
   * False once the server has answered that it knows no conditional writes, or has written although a condition did not
   * hold. Each kind of condition is tried with the first write that has one.
   */
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
        const body = answer.Body as Readable;
        if (options.signal) addAbortSignal(options.signal, body);
        // It can break off before anybody reads; whoever reads then is told.
        body.on('error', () => {});
        return {
          key,
          size: answer.ContentLength,
          etag: answer.ETag,
          modified: answer.LastModified,
          body,
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
    const bytes = content instanceof Uint8Array ? content : await collect(content, key, options.signal);
    const md5 = createHash('md5').update(bytes).digest('hex');
    if (options.precondition && !this.#conditional) await this.#checkFirst(key, options);
    const command = this.#putCommand(key, bytes, options);
    try {
      const etag = await this.#try('put', key, options.signal, async (attempt) => {
        try {
          const answer = await this.client.send(command, { abortSignal: options.signal });
          return answer.ETag;
        } catch (error) {
          // An attempt whose answer was lost may have written it: then the condition fails on our own bytes.
          if (attempt > 1 && options.precondition && statusOf(error) === 412) {
            const now = await this.head(key, options);
            if (now && bare(now.etag) === md5) return now.etag;
          }
          throw error;
        }
      });
      if (options.precondition && this.#conditional) await this.#testConditions(key, bytes, options, etag);
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
    if (info?.size !== undefined && info.size > copyLimit) {
      const { size, etag } = info;
      await copyParts(
        this.#target('copy', to, options.signal),
        source,
        { size, etag },
        'application/octet-stream',
      );
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

  /** Removes uploads in parts that nobody completed: of killed writers, and those whose beginning was answered to nobody. */
  async sweep(age: number, signal?: AbortSignal): Promise<number> {
    const Bucket = this.bucket;
    const Prefix = this.prefix ? `${this.prefix}/` : undefined;
    const old: { Key: string; UploadId: string }[] = [];
    for (let after: ListMultipartUploadsCommandInput | undefined = { Bucket, Prefix }; after; ) {
      const input: ListMultipartUploadsCommandInput = after;
      const page: ListMultipartUploadsCommandOutput = await this.#try('list uploads of', '', signal, () =>
        this.client.send(new ListMultipartUploadsCommand(input), { abortSignal: signal }),
      );
      for (const { Key, UploadId, Initiated } of page.Uploads ?? []) {
        if (!Key || !UploadId || !Initiated || Date.now() - Initiated.getTime() < age) continue;
        old.push({ Key, UploadId });
      }
      const { NextKeyMarker: KeyMarker, NextUploadIdMarker: UploadIdMarker } = page;
      after = page.IsTruncated ? { Bucket, Prefix, KeyMarker, UploadIdMarker } : undefined;
    }
    for (const upload of old) {
      await this.#try('delete', upload.Key, signal, () =>
        this.client.send(new AbortMultipartUploadCommand({ Bucket, ...upload }), { abortSignal: signal }),
      ).catch((error: unknown) => {
        if (!isNotFound(error)) throw error;
      });
    }
    return old.length;
  }

  async close(): Promise<void> {
    this.client.destroy();
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
    // Again as a whole when the content's stream breaks off; requests are tried again one by one.
    const etag = await this.#try('put', key, options.signal, () =>
      uploadParts(
        this.#target('put', key, options.signal),
        content,
        options.contentType ?? 'application/octet-stream',
      ),
    );
    return { key, size: sizeOf(content), etag: etag || undefined, modified: undefined };
  }

  #target(operation: string, key: string, signal: AbortSignal | undefined): MultipartTarget {
    return {
      client: this.client,
      bucket: this.bucket,
      key: this.#key(key),
      signal,
      request: (either, work) => this.#try(operation, key, either, work),
    };
  }

  async #checkFirst(key: string, options: PutOptions): Promise<void> {
    const now = await this.head(key, options);
    const { precondition } = options;
    const holds = precondition && 'match' in precondition ? now?.etag === precondition.match : !now;
    if (!holds) throw replaced(this, key);
  }

  /**
   * Some servers write whatever the condition says (versitygw, s3proxy). The write that has just succeeded makes its own
   * condition false, so the same request must be refused now. Where it is not, the same bytes are written again, which
   * may replace another's write: callers read again after a write where `conditional` is false.
   */
  async #testConditions(
    key: string,
    bytes: Uint8Array,
    options: PutOptions,
    etag: string | undefined,
  ): Promise<void> {
    const { precondition } = options;
    if (!precondition) return;
    const kind = 'absent' in precondition ? 'absent' : 'match';
    // With the same content as before the condition still holds.
    if ('match' in precondition && bare(precondition.match) === bare(etag)) return;
    const tested = this.#kept.get(kind) ?? this.#isRefused(key, bytes, options);
    this.#kept.set(kind, tested);
    if (!(await tested)) this.#conditional = false;
  }

  async #isRefused(key: string, bytes: Uint8Array, options: PutOptions): Promise<boolean> {
    const command = this.#putCommand(key, bytes, options);
    try {
      await this.#try('put', key, undefined, () => this.client.send(command));
      return false;
    } catch (error) {
      // Anything else proves nothing: then it is as if there were no conditions.
      return isPreconditionFailed(error) || isNotFound(error);
    }
  }

  #putCommand(key: string, bytes: Uint8Array, options: PutOptions): PutObjectCommand {
    return new PutObjectCommand({
      Bucket: this.bucket,
      Key: this.#key(key),
      Body: bytes,
      ContentLength: bytes.byteLength,
      ContentType: options.contentType ?? 'application/octet-stream',
      ...(this.#conditional ? this.#conditions(options) : {}),
    });
  }

  #conditions(options: PutOptions): { IfMatch?: string; IfNoneMatch?: string } {
    const { precondition } = options;
    if (!precondition) return {};
    if ('absent' in precondition) return { IfNoneMatch: '*' };
    // Ceph compares the header with its quotes to an etag without.
    return { IfMatch: this.ownEndpoint ? bare(precondition.match) : precondition.match };
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
          const result = await work(attempt);
          this.#answered = true;
          return result;
        } catch (error) {
          signal?.throwIfAborted();
          // What the content's own stream failed with is its owner's to tell.
          if (error instanceof Error && 'kind' in error) throw error;
          throw this.#translate(operation, key, error);
        }
      },
      {
        signal,
        gaveUp,
        onRetry: (attempt, delay, error) =>
          this.#onEvent?.({ type: 'retry', operation, key, attempt, delay, reason: error.message }),
      },
    );
  }

  #translate(operation: string, key: string, error: unknown): StorageError {
    if (error instanceof StorageError) return error;
    const status = statusOf(error);
    if (status !== undefined) this.#answered = true;
    const { name, message } = error as Error;
    const at = `${this.url}/${key}`;
    const details = { store: this.url, key, status };
    const options = { cause: error };
    // Not all servers use the status that fits: an unknown key is 404 at some.
    const refusal = refusalOf(name, message);
    if (status === 404 && name !== 'NoSuchBucket' && !refusal) {
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
        // 409: the other one has not finished, and may fail.
        { ...details, transient: status === 409 },
        options,
      );
    }
    const unauthorized = this.anonymous && status === 400 && /authorization/i.test(message);
    if (status === 401 || status === 403 || refusal || unauthorized) {
      const { reason, hint } = this.anonymous ? nobody : (refusal ?? unexplained);
      const said = ['Error', 'Unknown', 'UnknownError', '403'].includes(name) ? `HTTP ${status}` : name;
      return new StorageError(
        'denied',
        `Cannot ${operation} ${at}: ${reason} (${said}).`,
        { ...details, hint },
        options,
      );
    }
    if (name === 'CredentialsProviderError') {
      return new StorageError('denied', `No S3 credentials: ${message}`, details, options);
    }
    // A server that has never answered is hardly one: a wrong port, or a server of something else.
    const costly = isTimeout(error) || (!this.#answered && status === undefined);
    const transient = (status !== undefined && isTransientStatus(status)) || isTransientCause(error);
    return new StorageError(
      'unavailable',
      `Cannot ${operation} ${at}: ${status !== undefined && status >= 300 ? `HTTP ${status}, ` : ''}${message || name}.`,
      {
        ...details,
        transient,
        costly,
        hint: this.#answered ? undefined : 'Check the endpoint (S3_ENDPOINT_URL) and the network.',
        retryAfter: retryAfterOf(headerOf(error, 'retry-after')),
      },
      options,
    );
  }
}

async function collect(
  content: Exclude<Content, Uint8Array>,
  key: string,
  signal: AbortSignal | undefined,
): Promise<Buffer> {
  const stream = content.open();
  if (signal) addAbortSignal(signal, stream);
  const chunks: Buffer[] = [];
  let count = 0;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    count += chunk.length;
    if (count > content.size) break;
  }
  checkCount(count, content.size, key);
  return Buffer.concat(chunks, count);
}

/** An etag without its quotes. */
function bare(etag: string | undefined): string | undefined {
  return etag?.replaceAll('"', '');
}

function statusOf(error: unknown): number | undefined {
  return (error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode;
}

/** The SDK's own time-outs. It calls a dropped connection a `TimeoutError`, too. */
function isTimeout(error: unknown): boolean {
  return error instanceof Error && error.name === 'TimeoutError' && /node-http-handler/.test(error.message);
}

/** The SDK keeps the answer that an error was made from. */
function headerOf(error: unknown, name: string): string | undefined {
  return (error as { $response?: { headers?: Record<string, string> } }).$response?.headers?.[name];
}

function replaced(store: ObjectStore, key: string): StorageError {
  return new StorageError('precondition', `${store.url}/${key} was written by another process meanwhile.`, {
    store: store.url,
    key,
  });
}
