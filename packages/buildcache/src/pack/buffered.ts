import { randomBytes } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import type { Content } from '@stackwright/storage';
import { BuildcacheError } from '../error.js';
import type { PackedLayer, PushOptions } from '../mirror-writer.js';
import { packedBytes } from './pack.js';
import type { TarItem } from './tar.js';

/** Bytes of a tarball up to which it is held in memory until it is sent. */
const inMemory = 16 * 1024 * 1024;

/** Packs, keeping the bytes in memory or, when they are many, in a file, until `use` has taken them. */
export async function buffered<T>(
  items: AsyncIterable<TarItem>,
  options: Pick<PushOptions, 'signal' | 'temporary'>,
  use: (packed: PackedLayer, content: Content) => Promise<T>,
): Promise<T> {
  let packed: PackedLayer | undefined;
  const chunks: Buffer[] = [];
  let length = 0;
  let folder: string | undefined;
  let file: ReturnType<typeof createWriteStream> | undefined;
  try {
    for await (const chunk of packedBytes(items, (done) => (packed = done))) {
      options.signal?.throwIfAborted();
      if (!file && length + chunk.length > inMemory) {
        folder = await mkdtemp(join(options.temporary ?? tmpdir(), 'stackwright-pack-'));
        file = createWriteStream(join(folder, randomBytes(4).toString('hex')), { highWaterMark: 1 << 20 });
        for (const earlier of chunks.splice(0)) file.write(earlier);
      }
      if (file) {
        if (!file.write(chunk))
          await new Promise<void>((resolve, reject) => {
            file!.once('drain', resolve).once('error', reject);
          });
      } else chunks.push(chunk);
      length += chunk.length;
    }
    if (!packed) throw new BuildcacheError('tree-changed', 'Packing ended without a result.');
    if (!file) return await use(packed, Buffer.concat(chunks, length));
    file.end();
    await finished(file);
    const path = String(file.path);
    return await use(packed, {
      size: length,
      open: () => createReadStream(path, { highWaterMark: 1 << 20 }),
    });
  } finally {
    if (folder) await rm(folder, { recursive: true, force: true });
  }
}
