import { createHash, type Hash } from 'node:crypto';
import { Transform, type TransformCallback } from 'node:stream';
import type { Descriptor, Digest } from './descriptor.js';
import { OciError } from './error.js';

/** The sha256 digest of bytes or of a text in UTF-8. */
export function digestOf(content: Uint8Array | string): Digest {
  return `sha256:${createHash('sha256').update(content).digest('hex')}`;
}

/** The hexadecimal part of a digest. @throws OciError when it is no well-formed sha256 digest */
export function hexOf(digest: string): string {
  const hex = /^sha256:([0-9a-f]{64})$/.exec(digest)?.[1];
  if (!hex) throw new OciError('invalid', `"${digest}" is not a sha256 digest.`);
  return hex;
}

/** Passes bytes on and knows their digest and number when they have ended. */
export class DigestStream extends Transform {
  #hash: Hash = createHash('sha256');
  #digest: Digest | undefined;
  bytes = 0;

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    this.#hash.update(chunk);
    this.bytes += chunk.length;
    done(null, chunk);
  }

  /** The digest of all that went through. Ask once the stream has ended. */
  get digest(): Digest {
    this.#digest ??= `sha256:${this.#hash.digest('hex')}`;
    return this.#digest;
  }
}

/** Passes bytes on and fails, before the end is passed on, when their digest or length is not what was promised. */
export class CheckedStream extends DigestStream {
  readonly #expected: Pick<Descriptor, 'digest' | 'size'>;
  readonly #what: string;

  /** @param what names the content in the error */
  constructor(expected: Pick<Descriptor, 'digest' | 'size'>, what: string) {
    super();
    this.#expected = expected;
    this.#what = what;
  }

  override _transform(chunk: Buffer, encoding: BufferEncoding, done: TransformCallback): void {
    if (this.bytes + chunk.length > this.#expected.size) {
      done(
        new OciError(
          'mismatch',
          `${this.#what} is longer than the ${this.#expected.size} bytes it should have.`,
        ),
      );
    } else {
      super._transform(chunk, encoding, done);
    }
  }

  override _flush(done: TransformCallback): void {
    const { digest, size } = this.#expected;
    if (this.bytes !== size)
      done(new OciError('mismatch', `${this.#what} has ${this.bytes} bytes instead of ${size}.`));
    else if (this.digest !== digest)
      done(new OciError('mismatch', `${this.#what} has the digest ${this.digest} instead of ${digest}.`));
    else done();
  }
}
