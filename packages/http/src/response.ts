import { pipeline, Readable, type Transform } from 'node:stream';
import { createBrotliDecompress, createUnzip } from 'node:zlib';
import type { Dispatcher } from 'undici';
import { HttpError } from './error.js';
import { cleanText, maskUrl } from './text.js';

type Headers = Dispatcher.ResponseData['headers'];

abstract class Response {
  constructor(
    readonly status: number,
    /** Where the answer came from, after redirects. */
    readonly url: URL,
    private readonly headers: Headers,
  ) {}

  /** A header's value, several joined by commas. @param name in lower case */
  header(name: string): string | undefined {
    const value = this.headers[name];
    return Array.isArray(value) ? value.join(', ') : value;
  }
}

/** An answer that is in memory as a whole. */
export class HttpAnswer extends Response {
  constructor(
    status: number,
    url: URL,
    headers: Headers,
    readonly bytes: Buffer,
  ) {
    super(status, url, headers);
  }

  text(): string {
    return this.bytes.toString('utf8');
  }

  /** @throws HttpError `bad-answer` when the answer is not JSON */
  json(): unknown {
    try {
      return JSON.parse(this.text());
    } catch (error) {
      const url = maskUrl(this.url);
      const reason = `the answer is not JSON: ${cleanText((error as Error).message)}`;
      throw new HttpError(
        'bad-answer',
        `${url}: ${reason}.`,
        { url, reason, status: this.status, sent: true, transient: true },
        { cause: error },
      );
    }
  }
}

/** An answer whose body is still to come. */
export class HttpStream extends Response {
  constructor(
    status: number,
    url: URL,
    headers: Headers,
    /** Without content encoding. Ends with an `HttpError` when it breaks off. Destroy what is not read to the end. */
    readonly body: Readable,
  ) {
    super(status, url, headers);
  }
}

/**
 * A body without the encoding that the server added: some compress without being asked.
 * @param told what a failure of the decoder is as an error
 */
export function decoded(
  body: Readable,
  encoding: string | undefined,
  told: (error: unknown) => unknown,
): Readable {
  const decoder = decoderOf(encoding);
  if (!decoder) return body;
  const bytes = async function* () {
    try {
      yield* pipeline(body, decoder, () => {});
    } catch (error) {
      throw told(error);
    }
  };
  const plain = Readable.from(bytes(), { objectMode: false });
  // Whoever stops reading does not keep the connection.
  return plain.once('close', () => body.destroy()).on('error', () => {});
}

function decoderOf(encoding: string | undefined): Transform | undefined {
  if (encoding === 'br') return createBrotliDecompress();
  return encoding && /^(x-)?gzip$|^deflate$/.test(encoding) ? createUnzip() : undefined;
}

/** Reads a body whole. @param limit bytes @returns undefined when it holds more */
export async function collect(body: Readable, limit: number): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    length += chunk.length;
    // Leaving the loop destroys the body, and so the connection.
    if (length > limit) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, length);
}

/** What comes of a body within `limit` bytes and some milliseconds, whether it ends or breaks off. */
export async function beginning(body: Readable, limit: number, milliseconds: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  const timer = setTimeout(() => body.destroy(), milliseconds);
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      length += chunk.length;
      chunks.push(chunk);
      if (length >= limit) break;
    }
  } catch {
    // What came is enough.
  } finally {
    clearTimeout(timer);
  }
  return Buffer.concat(chunks).subarray(0, limit);
}
