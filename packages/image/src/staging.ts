import { randomBytes } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { PassThrough, type Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { CheckedStream, type Descriptor, DigestStream, hexOf, mediaTypes } from '@stackwright/oci';
import { type Layer, type LayerFacts, type PackageBlob, readLayerFacts } from './layer.js';

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
    const held = this.blobPath(blob.digest);
    const cached = blob.path === undefined && (await stat(held).catch(() => undefined))?.size === blob.size;
    const known = await this.recall<LayerFacts>(blob.digest);
    const checked = new CheckedStream(blob, `${what}: ${blob.path ?? 'its blob'}`);
    const source = cached ? createReadStream(held) : await blob.open(signal);
    const keep = blob.path === undefined && !cached;
    const temporary = `${held}.${randomBytes(6).toString('hex')}.tmp`;
    try {
      const sinks: Promise<unknown>[] = [];
      let facts = known;
      const toFacts = new PassThrough();
      const toFile = new PassThrough();
      if (!known) sinks.push(readLayerFacts(toFacts, what, signal).then((found) => (facts = found)));
      if (keep) sinks.push(pipeline(toFile, createWriteStream(temporary)));
      const fork = new Writable({
        write(chunk: Buffer, _encoding, done) {
          const waits = [!known && !toFacts.write(chunk) && toFacts, keep && !toFile.write(chunk) && toFile].filter((s) => s !== false);
          let left = waits.length;
          if (left === 0) done();
          for (const wait of waits) wait.once('drain', () => --left === 0 && done());
        },
        final(done) {
          toFacts.end();
          toFile.end();
          done();
        },
        destroy(error, done) {
          if (error) {
            toFacts.destroy(error);
            toFile.destroy(error);
          }
          done(error);
        },
      });
      // A broken tarball ends its own reader; without this the fork would wait for it for ever.
      for (const branch of [toFacts, toFile]) branch.on('close', () => branch.readableEnded || branch.errored || fork.destroy());
      const main = pipeline(source, checked, fork, { signal });
      const results = await Promise.allSettled([main, ...sinks]);
      // The checksum speaks first: a flipped byte breaks the tarball too, but it is the checksum that explains it.
      const failure = checked.errored ?? results.map((r) => (r.status === 'rejected' ? r.reason : undefined)).find((e) => e?.kind) ?? rejection(results);
      if (failure) throw failure;
      if (keep) await rename(temporary, held);
      if (!known && facts) await this.remember(blob.digest, facts);
      return { facts: facts as LayerFacts, path: blob.path ?? held };
    } finally {
      await rm(temporary, { force: true });
    }
  }

  /**
   * Compresses a tar into a layer and keeps it under the name of what it was made from.
   * Deterministic: gzip level 6, no name, no time.
   */
  async pack(key: string, tar: () => Readable, createdBy: string, signal?: AbortSignal): Promise<Layer> {
    const known = await this.recall<{ descriptor: Descriptor; diffId: Layer['diffId'] }>(key);
    if (known && (await stat(this.blobPath(known.descriptor.digest)).catch(() => undefined))?.size === known.descriptor.size) {
      return { ...known, path: this.blobPath(known.descriptor.digest), createdBy };
    }
    const uncompressed = new DigestStream();
    const compressed = new DigestStream();
    const temporary = join(this.folder, 'blobs', `${randomBytes(6).toString('hex')}.tmp`);
    try {
      await pipeline(tar(), uncompressed, createGzip({ level: 6 }), compressed, createWriteStream(temporary), { signal });
      const descriptor: Descriptor = { mediaType: mediaTypes.layerGzip, digest: compressed.digest, size: compressed.bytes };
      const path = this.blobPath(descriptor.digest);
      await rename(temporary, path);
      await this.remember(key, { descriptor, diffId: uncompressed.digest });
      return { descriptor, diffId: uncompressed.digest, path, createdBy };
    } finally {
      await rm(temporary, { force: true });
    }
  }

  /** Keeps a blob of a base image, checked. */
  async keep(descriptor: Descriptor, open: () => Promise<Readable>, signal?: AbortSignal): Promise<string> {
    const path = this.blobPath(descriptor.digest);
    if ((await stat(path).catch(() => undefined))?.size === descriptor.size) return path;
    const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`;
    try {
      await pipeline(await open(), new CheckedStream(descriptor, `blob ${descriptor.digest}`), createWriteStream(temporary), { signal });
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

function rejection(results: readonly PromiseSettledResult<unknown>[]): unknown {
  return results.find((result) => result.status === 'rejected')?.reason;
}
