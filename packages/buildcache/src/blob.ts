import { createHash } from 'node:crypto';
import { Transform, type TransformCallback } from 'node:stream';
import { type Descriptor, digestOf } from '@stackwright/oci';
import { BuildcacheError } from './error.js';

type Expected = Pick<Descriptor, 'digest' | 'size'>;

/** Passes bytes on and fails at the end, or as soon as it can tell, when they are not the expected ones. */
export class Verified extends Transform {
  readonly #hash = createHash('sha256');
  #length = 0;

  constructor(
    private readonly expected: Expected,
    /** Names the bytes in messages. */
    private readonly what: string,
    private readonly where: string,
  ) {
    super({ highWaterMark: 1 << 18 });
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    this.#length += chunk.length;
    if (this.#length > this.expected.size) {
      done(wrongLength(`more than ${this.expected.size}`, this.expected, this.what, this.where));
      return;
    }
    this.#hash.update(chunk);
    done(null, chunk);
  }

  override _flush(done: TransformCallback): void {
    if (this.#length !== this.expected.size) {
      done(wrongLength(String(this.#length), this.expected, this.what, this.where));
      return;
    }
    const found = `sha256:${this.#hash.digest('hex')}`;
    done(found === this.expected.digest ? null : wrongChecksum(found, this.expected, this.what, this.where));
  }
}

/** @throws BuildcacheError `length`, `checksum` */
export function checkBytes(bytes: Buffer, expected: Expected, what: string, where: string): void {
  if (bytes.length !== expected.size) {
    throw wrongLength(String(bytes.length), expected, what, where);
  }
  const found = digestOf(bytes);
  if (found !== expected.digest) throw wrongChecksum(found, expected, what, where);
}

function wrongChecksum(found: string, expected: Expected, what: string, where: string): BuildcacheError {
  return new BuildcacheError(
    'checksum',
    `${what}: the checksum of ${where} is ${short(found)}, its manifest says ${short(expected.digest)}.`,
    { key: where, package: what, hint: 'The blob was damaged or replaced: push the package again.' },
  );
}

function wrongLength(found: string, expected: Expected, what: string, where: string): BuildcacheError {
  return new BuildcacheError(
    'length',
    `${what}: ${where} has ${found} bytes, its manifest says ${expected.size}.`,
    { key: where, package: what, hint: 'The blob was cut off or replaced: push the package again.' },
  );
}

function short(digest: string): string {
  return `${digest.slice('sha256:'.length, 19)}…`;
}
