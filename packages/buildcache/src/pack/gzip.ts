import { availableParallelism } from 'node:os';
import { constants, crc32, deflateRaw } from 'node:zlib';

/** Level 6, no name, time 0, operating system unknown: what Python writes for Spack. */
const header = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]);
const windowSize = 32 * 1024;
/** Bytes that are compressed as one piece. Fixed, so that the result does not depend on the machine. */
const pieceSize = 2 * 1024 * 1024;

/**
 * Compresses to one gzip member, several pieces at a time in the thread pool. Each piece knows the 32 KiB before it,
 * so little is lost; the same bytes always give the same result, whatever the number of cores and the chunks of `source`.
 */
export async function* gzip(
  source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  parallel = availableParallelism(),
): AsyncGenerator<Buffer> {
  yield header;
  const running: Promise<Buffer>[] = [];
  const spare: Buffer[] = [];
  let crc = 0;
  let length = 0;
  let before: Buffer | undefined;
  for await (const { piece, last } of pieces(source, spare)) {
    crc = crc32(piece, crc);
    length += piece.length;
    const dictionary = before;
    before = Buffer.from(piece.subarray(Math.max(0, piece.length - windowSize)));
    running.push(
      deflatePiece(piece, dictionary, last).then((packed) => {
        spare.push(piece);
        return packed;
      }),
    );
    while (running.length > parallel) yield await running.shift()!;
  }
  for (const piece of running) yield await piece;
  const trailer = Buffer.alloc(8);
  trailer.writeUInt32LE(crc >>> 0, 0);
  trailer.writeUInt32LE(length % 2 ** 32, 4);
  yield trailer;
}

/** Cuts into pieces of `pieceSize`, in buffers that are spare where there are any; the last may be shorter and is marked. */
async function* pieces(
  source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  spare: Buffer[],
): AsyncGenerator<{ piece: Buffer; last: boolean }> {
  const next = () => spare.pop() ?? Buffer.allocUnsafeSlow(pieceSize);
  let piece = next();
  let filled = 0;
  for await (const chunk of source) {
    for (let at = 0; at < chunk.length; ) {
      if (filled === pieceSize) {
        yield { piece, last: false };
        piece = next();
        filled = 0;
      }
      const count = Math.min(chunk.length - at, pieceSize - filled);
      piece.set(chunk.subarray(at, at + count), filled);
      filled += count;
      at += count;
    }
  }
  yield { piece: piece.subarray(0, filled), last: true };
}

function deflatePiece(piece: Buffer, dictionary: Buffer | undefined, last: boolean): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    deflateRaw(
      piece,
      {
        level: levelFor(piece),
        // One turn of the thread pool for all of most pieces.
        chunkSize: Math.max(4096, piece.length >> 1),
        // Smaller than by default: with the hashing of Node's zlib this packs 0.4 % better.
        memLevel: 7,
        ...(dictionary && dictionary.length > 0 ? { dictionary } : {}),
        finishFlush: last ? constants.Z_FINISH : constants.Z_SYNC_FLUSH,
      },
      (error, result) => (error ? reject(error) : resolve(result)),
    );
  });
}

/**
 * Machine code packs hardly worse at level 5 (0.4 %) and a quarter faster; text would lose more than 1 %. What a piece
 * is can be told by its bytes above ASCII: few in text and tables, many in code. Depends on the content alone.
 */
function levelFor(piece: Buffer): 5 | 6 {
  const step = 61;
  let high = 0;
  for (let at = 0; at < piece.length; at += step) if (piece[at]! >= 0x80) high++;
  return high * step * 10 > piece.length ? 5 : 6;
}
