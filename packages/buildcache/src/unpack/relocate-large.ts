import { closeSync, createReadStream, createWriteStream, fstatSync, openSync, readSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { BuildcacheError } from '../error.js';
import type { ByteSource } from './elf.js';
import { type Relocation, withSbang } from './relocate.js';

/** Bytes of a file that are in memory at once. */
const partSize = 4 * 1024 * 1024;
/** Bytes of one line of text, which cannot be taken apart. */
const lineLimit = 2 ** 31 - 1;

/** A relocated content: how long it is, and its bytes. */
export interface LargeContent {
  readonly size: number;
  readonly content: AsyncIterable<Buffer>;
}

/**
 * Relocates a content that is not to be held in memory: it waits in a temporary file, is read once for what must be
 * known before its first byte (the new length of a text, the tables of an ELF file), and then streams.
 * @param how what kind of content it is; `sbangPath` for a text whose first line may become too long
 * @returns with `dispose`, which removes the file and must be called
 * @throws BuildcacheError `relocation` naming the file
 */
export async function relocatedLarge(
  content: AsyncIterable<Buffer> | Iterable<Buffer>,
  relocation: Relocation,
  file: string,
  how: { readonly kind: 'binary' } | { readonly kind: 'text'; readonly sbangPath: string | undefined },
  temporary = tmpdir(),
): Promise<LargeContent & { readonly dispose: () => Promise<void> }> {
  const folder = await mkdtemp(join(temporary, 'stackwright-relocate-'));
  const dispose = () => rm(folder, { recursive: true, force: true });
  try {
    const path = join(folder, 'content');
    await pipeline(Readable.from(content), createWriteStream(path, { highWaterMark: partSize }));
    const open =
      how.kind === 'text'
        ? textParts(path, relocation, file, how.sbangPath)
        : binaryParts(path, relocation, file);
    let size = 0;
    // What cannot be done must be known before the first byte is handed on.
    for await (const part of open()) size += part.length;
    return { size, content: open(), dispose };
  } catch (error) {
    await dispose();
    throw error;
  }
}

function textParts(
  path: string,
  relocation: Relocation,
  file: string,
  sbangPath: string | undefined,
): () => AsyncGenerator<Buffer> {
  return async function* () {
    let first = true;
    for await (const lines of wholeLines(path, file)) {
      const moved = relocation.text(lines);
      yield first && sbangPath !== undefined ? withSbang(moved, sbangPath) : moved;
      first = false;
    }
  };
}

/** A file in parts that end where lines end: no path goes on in the next one. */
async function* wholeLines(path: string, file: string): AsyncGenerator<Buffer> {
  let parts: Buffer[] = [];
  let length = 0;
  for await (const chunk of createReadStream(path, { highWaterMark: partSize }) as AsyncIterable<Buffer>) {
    const cut = chunk.lastIndexOf(0x0a) + 1;
    if (cut > 0) {
      yield Buffer.concat([...parts, chunk.subarray(0, cut)]);
      parts = [];
      length = 0;
    }
    parts.push(chunk.subarray(cut));
    length += chunk.length - cut;
    if (length > lineLimit) {
      throw new BuildcacheError('relocation', `${file}: a line of more than ${lineLimit} bytes.`, {
        file,
        hint: 'Such a text cannot be relocated: install at the place where it was built.',
      });
    }
  }
  if (length > 0) yield Buffer.concat(parts, length);
}

function binaryParts(path: string, relocation: Relocation, file: string): () => AsyncGenerator<Buffer> {
  const edits = withBytes(path, (source) => relocation.elfEdits(source, file));
  return async function* () {
    let rest: Buffer = Buffer.alloc(0);
    let position = 0;
    for await (const chunk of createReadStream(path, { highWaterMark: partSize }) as AsyncIterable<Buffer>) {
      for (const { offset, bytes } of edits) overlay(chunk, position, bytes, offset);
      position += chunk.length;
      const part = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      const done = relocation.strings(part, file, false);
      if (done > 0) yield part.subarray(0, done);
      rest = part.subarray(done);
    }
    relocation.strings(rest, file, true);
    if (rest.length > 0) yield rest;
  };
}

/** Writes the bytes that belong at `offset` of the file over those that lie in the chunk at `position`. */
function overlay(chunk: Buffer, position: number, bytes: Buffer, offset: number): void {
  const start = Math.max(offset, position);
  const end = Math.min(offset + bytes.length, position + chunk.length);
  if (start < end) bytes.copy(chunk, start - position, start - offset, end - offset);
}

function withBytes<T>(path: string, use: (source: ByteSource) => T): T {
  const descriptor = openSync(path, 'r');
  try {
    return use({
      length: fstatSync(descriptor).size,
      slice: (start, end) => {
        const bytes = Buffer.alloc(end - start);
        return bytes.subarray(0, readSync(descriptor, bytes, 0, bytes.length, start));
      },
    });
  } finally {
    closeSync(descriptor);
  }
}
