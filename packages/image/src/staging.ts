import { randomBytes } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { chmod, mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { PassThrough, type Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import {
  BuildcacheError,
  checkStatedTarball,
  type LayerFacts,
  parseBuildInfo,
  readCheckedFacts,
  type StatedTarball,
  statedPrefixes,
} from '@stackwright/buildcache';
import { type Descriptor, type Digest, DigestStream, hexOf, type Layer, mediaTypes } from '@stackwright/oci';
import { checkedStream, keyOf, type LayerFile, type PackageBlob, type PackageFacts } from './layer.js';

/**
 * Makes a folder for this user alone.
 * @param empty what is in it already goes where others could have written it
 */
async function makePrivate(folder: string, empty: boolean): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const { mode, uid } = await stat(folder);
  const shared = (mode & 0o022) !== 0 || uid !== (process.getuid?.() ?? uid);
  if (shared && empty) {
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder, { mode: 0o700 });
  } else if (empty) await chmod(folder, 0o700);
}

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
  readonly #staged = new Map<string, Promise<StagedBlob>>();

  private constructor(readonly folder: string) {}

  /** Opens a folder for this user alone. What others could have written there is not believed. */
  static async open(folder: string): Promise<Staging> {
    for (const part of ['', 'blobs', 'facts']) await makePrivate(join(folder, part), part !== '');
    return new Staging(folder);
  }

  /**
   * What has to be known of a package for an image, and the file that holds its blob. Where a trusted key has signed a
   * statement, the blob is not read; its bytes are checked when they are copied, pushed or changed. Else as `stage`.
   * @param options.check read the blob all the same
   */
  async take(
    blob: PackageBlob,
    { check = false, signal }: { readonly check?: boolean; readonly signal?: AbortSignal } = {},
  ): Promise<{ readonly facts: PackageFacts; readonly path: string }> {
    const { statement, vouched } = blob;
    const stated = !check && vouched && statement ? factsOfStatement(statement.tarball) : undefined;
    if (!stated) {
      const { facts, path } = await this.stage(blob, signal);
      return { facts: factsOf(facts, nameOf(blob)), path };
    }
    if (blob.path === undefined) return { facts: stated, path: await this.#kept(blob, signal) };
    await checkThere(blob.path, blob);
    return { facts: stated, path: blob.path };
  }

  /**
   * Reads a package's blob: checks its digest and length, and finds its facts unless they are known. Each blob is read
   * once as long as this object lives. A blob of a folder stays where it is; another is kept here, so that it is
   * downloaded once.
   */
  async stage(blob: PackageBlob, signal?: AbortSignal): Promise<StagedBlob> {
    const found = await this.#read(blob, signal);
    // Not only by whoever reads it first: two packages may name one blob.
    checkStatedTarball(blob.node, blob.statement, found.facts);
    return found;
  }

  #read(blob: PackageBlob, signal?: AbortSignal): Promise<StagedBlob> {
    const key = `${blob.descriptor.digest} ${blob.path ?? ''}`;
    let staged = this.#staged.get(key);
    if (!staged) {
      staged = this.#stage(blob, signal);
      this.#staged.set(key, staged);
      // A read that failed or was stopped says nothing of the next one.
      staged.catch(() => this.#staged.delete(key));
    }
    return staged;
  }

  async #stage(blob: PackageBlob, signal?: AbortSignal): Promise<StagedBlob> {
    const what = nameOf(blob);
    if (blob.path !== undefined) await checkThere(blob.path, blob);
    const path = blob.path ?? (await this.#kept(blob, signal));
    const bytes = async () => (blob.path === undefined ? createReadStream(path) : blob.open(signal));
    const checked = async () => checkedStream(await bytes(), blob.descriptor, `${what}: ${path}`);
    const facts = (await this.#knownFacts(blob.descriptor.digest)) ?? undefined;
    if (facts) await pipeline(await checked(), nowhere(), { signal });
    const found = facts ?? (await readCheckedFacts(checked, what, signal));
    if (!facts) await this.remember(blob.descriptor.digest, found);
    return { facts: found, path };
  }

  #kept(blob: PackageBlob, signal?: AbortSignal): Promise<string> {
    return this.keep(blob.descriptor, (wait) => blob.open(wait), signal, nameOf(blob));
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
    const { layer } = await this.packWith(key, tar, createdBy, () => null, { plain, signal });
    return layer;
  }

  /** The same, and what was found while the tar went by is remembered with the layer. It has to be JSON. */
  async packWith<T>(
    key: string,
    tar: () => Readable,
    createdBy: string,
    found: () => T,
    { plain = false, signal }: { readonly plain?: boolean; readonly signal?: AbortSignal } = {},
  ): Promise<{ readonly layer: LayerFile; readonly found: T }> {
    const known = await this.recall(key);
    if (isPacked<T>(known)) {
      const { descriptor, diffId } = known;
      const path = this.blobPath(descriptor.digest);
      if ((await stat(path).catch(() => undefined))?.size === descriptor.size)
        return { layer: { descriptor, diffId, path, createdBy }, found: known.found };
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
      const packed: Packed<T> = { descriptor, diffId: uncompressed.digest, found: found() };
      await this.remember(key, packed);
      return { layer: { descriptor, diffId: packed.diffId, path, createdBy }, found: packed.found };
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
      await pipeline(checkedStream(await open(signal), blob, what), createWriteStream(temporary), { signal });
      await rename(temporary, path);
      return path;
    } finally {
      await rm(temporary, { force: true });
    }
  }

  blobPath(digest: string): string {
    return join(this.folder, 'blobs', hexOf(digest));
  }

  async #knownFacts(digest: Digest): Promise<LayerFacts | undefined> {
    const known = await this.recall(digest);
    return isLayerFacts(known) ? known : undefined;
  }

  /** What was remembered under a key; undefined where nothing was, or where the file is torn or was changed. */
  async recall(key: string): Promise<unknown> {
    const text = await readFile(this.#factPath(key), 'utf8').catch(() => '');
    const [checksum, json = ''] = text.split('\n');
    if (checksum !== keyOf(key, json)) return undefined;
    return JSON.parse(json);
  }

  async remember(key: string, value: unknown): Promise<void> {
    const path = this.#factPath(key);
    const temporary = join(dirname(path), `${randomBytes(6).toString('hex')}.tmp`);
    const json = JSON.stringify(value);
    await writeFile(temporary, `${keyOf(key, json)}\n${json}\n`, { mode: 0o600 });
    await rename(temporary, path);
  }

  #factPath(key: string): string {
    return join(this.folder, 'facts', `${key.replace(':', '-')}.json`);
  }
}

/** Facts that were read, in the terms of an image. @throws BuildcacheError `tarball` */
export function factsOf(facts: LayerFacts, what: string): PackageFacts {
  const { root, relativePrefix, prefixes } = parseBuildInfo(facts.distribution, what);
  return {
    diffId: facts.diffId,
    prefix: facts.prefix,
    root,
    relativePrefix,
    prefixes,
    folders: facts.folders,
    libraries: facts.libraries,
    contents: facts.contents,
  };
}

/**
 * Undefined for a package that does not lie below its own root, and for a statement that says nothing of the contents:
 * what it is has to be read.
 */
function factsOfStatement(stated: StatedTarball): PackageFacts | undefined {
  const { digest, prefix, root, folders, contents, interpreters, needed, provided } = stated;
  if (!prefix.startsWith(`${root}/`) || !contents) return undefined;
  const libraries = { interpreters, needed, provided };
  const relativePrefix = prefix.slice(root.length + 1);
  const prefixes = statedPrefixes(stated);
  return { diffId: digest, prefix, root, relativePrefix, prefixes, folders, libraries, contents };
}

/** @throws BuildcacheError when the file is missing or has another length than its manifest says */
async function checkThere(path: string, blob: PackageBlob): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  if (found?.size === blob.descriptor.size) return;
  const what = nameOf(blob);
  const why = found
    ? `the blob ${path} has ${found.size} bytes instead of ${blob.descriptor.size}`
    : `the mirror lacks the blob ${path}`;
  throw new BuildcacheError(found ? 'length' : 'missing-blob', `${what}: ${why}.`, {
    package: what,
    key: path,
    hint: 'Push the package again.',
  });
}

function isLayerFacts(value: unknown): value is LayerFacts {
  const facts = value as Partial<LayerFacts> | undefined;
  return typeof facts?.diffId === 'string' && facts.libraries !== undefined && facts.contents !== undefined;
}

/** What is remembered of a layer that was made. */
interface Packed<T> extends Layer {
  readonly found: T;
}

function isPacked<T>(value: unknown): value is Packed<T> {
  const layer = value as Partial<Packed<T>> | undefined;
  return (
    typeof layer?.diffId === 'string' &&
    typeof layer.descriptor?.digest === 'string' &&
    layer.found !== undefined
  );
}

function nameOf({ node }: PackageBlob): string {
  return `${node.name}@${node.version}/${node.hash}`;
}

function nowhere(): Writable {
  return new Writable({ write: (_chunk, _encoding, done) => done() });
}
