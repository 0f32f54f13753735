import { createHash } from 'node:crypto';
import { addAbortSignal } from 'node:stream';
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  HeadObjectCommand,
  type S3Client,
  UploadPartCommand,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3';
import { type Content, checkCount, sizeOf } from './store.js';

/** Bytes of a part, and from which on an object is sent in parts. */
export const partSize = 8 * 1024 * 1024;
/** Bytes that one request copies at most, and of a part of a larger object. */
const copyPartSize = 1024 ** 3;
const mostParts = 10_000;
const inFlight = 3;

export interface MultipartTarget {
  readonly client: S3Client;
  readonly bucket: string;
  readonly key: string;
  readonly signal: AbortSignal | undefined;
  /** Makes one request, again when it may succeed then. */
  readonly request: <T>(signal: AbortSignal, work: (attempt: number) => Promise<T>) => Promise<T>;
}

type Part = {
  readonly number: number;
  readonly send: (id: string, abortSignal: AbortSignal) => Promise<string>;
};

/** Sends content in parts from a stream, at most `inFlight` of them in memory. Returns the object's etag. */
export function uploadParts(target: MultipartTarget, content: Content, contentType: string): Promise<string> {
  const { client, bucket: Bucket, key: Key } = target;
  const size = Math.max(partSize, Math.ceil(sizeOf(content) / mostParts));
  return inParts(target, contentType, async function* (signal): AsyncGenerator<Part> {
    let number = 0;
    for await (const bytes of pieces(content, size, target.key, signal)) {
      const PartNumber = ++number;
      yield {
        number,
        send: async (UploadId, abortSignal) => {
          const part = { Bucket, Key, UploadId, PartNumber, Body: bytes, ContentLength: bytes.length };
          const { ETag } = await client.send(new UploadPartCommand(part), { abortSignal });
          return ETag ?? '';
        },
      };
    }
  });
}

/** Copies a large object inside the server, part by part. @param source `BUCKET/KEY`, encoded */
export function copyParts(
  target: MultipartTarget,
  source: string,
  from: { readonly size: number; readonly etag: string | undefined },
  contentType: string,
  size = copyPartSize,
): Promise<string> {
  const { client, bucket: Bucket, key: Key } = target;
  return inParts(target, contentType, function* (): Generator<Part> {
    for (let start = 0, PartNumber = 1; start < from.size; start += size, PartNumber++) {
      const range = `bytes=${start}-${Math.min(start + size, from.size) - 1}`;
      yield {
        number: PartNumber,
        send: async (UploadId, abortSignal) => {
          const command = new UploadPartCopyCommand({
            Bucket,
            Key,
            UploadId,
            PartNumber,
            CopySource: source,
            CopySourceRange: range,
            CopySourceIfMatch: from.etag,
          });
          const { CopyPartResult } = await client.send(command, { abortSignal });
          return CopyPartResult?.ETag ?? '';
        },
      };
    }
  });
}

/** Begins an upload, sends its parts and completes it. Whatever goes wrong, no parts stay behind on the server. */
async function inParts(
  target: MultipartTarget,
  contentType: string,
  parts: (signal: AbortSignal) => Iterable<Part> | AsyncIterable<Part>,
): Promise<string> {
  const { client, bucket: Bucket, key: Key, request } = target;
  const stop = new AbortController();
  const signal = target.signal ? AbortSignal.any([target.signal, stop.signal]) : stop.signal;
  // Not ended by the signal: an upload whose name is not known could not be removed.
  const begun = await request(signal, () =>
    client.send(new CreateMultipartUploadCommand({ Bucket, Key, ContentType: contentType }), {
      abortSignal: AbortSignal.timeout(20_000),
    }),
  );
  const UploadId = begun.UploadId ?? '';
  const etags: string[] = [];
  const running = new Set<Promise<void>>();
  let failure: unknown;
  try {
    signal.throwIfAborted();
    for await (const { number, send } of parts(signal)) {
      const sending: Promise<void> = request(signal, () => send(UploadId, signal)).then(
        (etag) => {
          etags[number - 1] = etag;
          running.delete(sending);
        },
        (error: unknown) => {
          failure ??= error;
          running.delete(sending);
          stop.abort();
        },
      );
      running.add(sending);
      if (running.size >= inFlight) await Promise.race(running);
    }
    await Promise.all(running);
    signal.throwIfAborted();
    return await complete(target, UploadId, etags, signal);
  } catch (error) {
    // A part's failure stops the source, whose error then says nothing.
    const first = failure ?? error;
    stop.abort();
    await Promise.all(running);
    // Not by the caller's signal: it may have fired already.
    await client
      .send(new AbortMultipartUploadCommand({ Bucket, Key, UploadId }), {
        abortSignal: AbortSignal.timeout(20_000),
      })
      .catch(() => {});
    target.signal?.throwIfAborted();
    throw first;
  }
}

async function complete(
  { client, bucket: Bucket, key: Key, request }: MultipartTarget,
  UploadId: string,
  etags: readonly string[],
  abortSignal: AbortSignal,
): Promise<string> {
  const Parts = etags.map((ETag, index) => ({ ETag, PartNumber: index + 1 }));
  const command = new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts } });
  return request(abortSignal, async (attempt) => {
    try {
      return (await client.send(command, { abortSignal })).ETag ?? '';
    } catch (error) {
      // An attempt whose answer was lost may have completed it: then there is no such upload any more.
      if (attempt === 1 || (error as Error).name !== 'NoSuchUpload') throw error;
      const { ETag = '' } = await client.send(new HeadObjectCommand({ Bucket, Key }), { abortSignal });
      if (ETag.replaceAll('"', '') === etagOf(etags)) return ETag;
      throw error;
    }
  });
}

/** The etag of an object that was sent in parts with these etags. */
function etagOf(etags: readonly string[]): string {
  const digests = etags.map((etag) => Buffer.from(etag.replaceAll('"', ''), 'hex'));
  return `${createHash('md5').update(Buffer.concat(digests)).digest('hex')}-${etags.length}`;
}

/** Content in pieces of `size` bytes; the last may be shorter. @throws StorageError `truncated` */
async function* pieces(
  content: Content,
  size: number,
  key: string,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  if (content instanceof Uint8Array) {
    for (let at = 0; at < content.byteLength; at += size) yield Buffer.from(content.subarray(at, at + size));
    return;
  }
  const stream = addAbortSignal(signal, content.open());
  let waiting: Buffer[] = [];
  let length = 0;
  let count = 0;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    count += chunk.length;
    if (count > content.size) break;
    waiting.push(chunk);
    length += chunk.length;
    while (length >= size) {
      const all = Buffer.concat(waiting, length);
      yield all.subarray(0, size);
      waiting = [all.subarray(size)];
      length -= size;
    }
  }
  checkCount(count, content.size, key);
  if (length > 0) yield Buffer.concat(waiting, length);
}
