import { randomBytes } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { PassThrough, type Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { type LayerFacts, readLayerFacts } from '@stackwright/buildcache';
import {
  CheckedStream,
  type Descriptor,
  type Digest,
  DigestStream,
  hexOf,
  type Layer,
  mediaTypes,
} from '@stackwright/oci';
import type { LayerFile, PackageBlob } from './layer.js';

/** A package's blob that was read to its end and found whole, with the file that holds it. */
export interface StagedBlob {
  readonly facts: LayerFacts;
  readonly path: string;
}

/**
 * A folder that remembers, by digest, what took a whole read to find out, and holds the blobs that were downloaded or
 * made. Everything in it can be deleted at any time. Nothing gets into it that was not checked.
 */
export class Staging {
  private constructor(readonly folder: string) {}

  static async open(folder: string): Promise<Staging> {
    await mkdir(join(folder, 'blobs'), { recursive: true });
    await mkdir(join(folder, 'facts'), { recursive: true });
    return new Staging(folder);
  }

  /**
   * Reads a package's blob once: checks its digest and length, and finds its facts unless they are known.
   * A blob of a folder stays where it is; another is kept here, so that it is downloaded once.
   */
  async stage(blob: PackageBlob, signal?: AbortSignal): Promise<StagedBlob> {
    const what = `${blob.node.name}@${blob.node.version}/${blob.node.hash}`;
    const path = blob.path ?? (await this.keep(blob.descriptor, (wait) => blob.open(wait), signal, what));
    const checked = () => readChecked(createReadStream(path), blob.descriptor, `${what}: ${path}`);
    const known = await this.recall<LayerFacts>(blob.descriptor.digest);
    if (known) {
      await pipeline(checked(), nowhere(), { signal });
      return { facts: known, path };
    }
    const facts = await readLayerFacts(checked(), what, signal).catch(async (error: unknown) => {
      signal?.throwIfAborted();
      // A flipped byte breaks the tarball before its end is reached; the checksum explains it better.
      await pipeline(checked(), nowhere(), { signal });
      throw error;
    });
    await this.remember(blob.descriptor.digest, facts);
    return { facts, path };
  }

  /**
   * Makes a layer of a tar and keeps it under the name of what it was made from. Deterministic: gzip level 6, no name,
   * no time.
   * @param options.plain leave it uncompressed: what is in it is compressed already
   */
  async pack(
    key: string,
    tar: () => Readable,
    createdBy: string,
    { plain = false, signal }: { readonly plain?: boolean; readonly signal?: AbortSignal } = {},
  ): Promise<LayerFile> {
    const known = await this.recall<Layer>(key);
    if (
      known &&
      (await stat(this.blobPath(known.descriptor.digest)).catch(() => undefined))?.size ===
        known.descriptor.size
    ) {
      return { ...known, path: this.blobPath(known.descriptor.digest), createdBy };
    }
    const uncompressed = new DigestStream();
    const compressed = new DigestStream();
    const temporary = join(this.folder, 'blobs', `${randomBytes(6).toString('hex')}.tmp`);
    try {
      await pipeline(
        tar(),
        uncompressed,
        plain ? new PassThrough() : createGzip({ level: 6 }),
        compressed,
        createWriteStream(temporary),
        { signal },
      );
      const descriptor: Descriptor = {
        mediaType: plain ? mediaTypes.layerTar : mediaTypes.layerGzip,
        digest: compressed.digest,
        size: compressed.bytes,
      };
      const path = this.blobPath(descriptor.digest);
      await rename(temporary, path);
      await this.remember(key, { descriptor, diffId: uncompressed.digest });
      return { descriptor, diffId: uncompressed.digest, path, createdBy };
    } finally {
      await rm(temporary, { force: true });
    }
  }

  /** Keeps a blob that is not in a folder already. Returns the file; what is in it has been checked. */
  async keep(
    blob: { readonly digest: Digest; readonly size: number },
    open: (signal?: AbortSignal) => Promise<Readable>,
    signal?: AbortSignal,
    what = `blob ${blob.digest}`,
  ): Promise<string> {
    const path = this.blobPath(blob.digest);
    if ((await stat(path).catch(() => undefined))?.size === blob.size) return path;
    const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`;
    try {
      await pipeline(readChecked(await open(signal), blob, what), createWriteStream(temporary), { signal });
      await rename(temporary, path);
      return path;
    } finally {
      await rm(temporary, { force: true });
    }
  }

  blobPath(digest: string): string {
    return join(this.folder, 'blobs', hexOf(digest));
  }

  async recall<T>(key: string): Promise<T | undefined> {
    const text = await readFile(this.#factPath(key), 'utf8').catch(() => undefined);
    return text === undefined ? undefined : JSON.parse(text);
  }

  async remember(key: string, value: unknown): Promise<void> {
    const path = this.#factPath(key);
    const temporary = join(dirname(path), `${randomBytes(6).toString('hex')}.tmp`);
    await writeFile(temporary, JSON.stringify(value));
    await rename(temporary, path);
  }

  #factPath(key: string): string {
    return join(this.folder, 'facts', `${key.replace(':', '-')}.json`);
  }
}

function readChecked(
  source: Readable,
  blob: { readonly digest: Digest; readonly size: number },
  what: string,
): Readable {
  const checked = new CheckedStream(blob, what);
  source.on('error', (error) => checked.destroy(error));
  checked.on('close', () => source.destroy());
  return source.pipe(checked);
}

function nowhere(): Writable {
  return new Writable({ write: (_chunk, _encoding, done) => done() });
}
