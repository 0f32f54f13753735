import { randomBytes } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { link, mkdir, readdir, readFile, rename, rm, stat, unlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type Descriptor, type ImageIndex, isIndexType, type Manifest, mediaTypes } from './descriptor.js';
import { CheckedStream, DigestStream, digestOf, hexOf } from './digest.js';
import { OciError } from './error.js';
import { type ImageSource, manifestLimit } from './source.js';

const tagAnnotation = 'org.opencontainers.image.ref.name';

/**
 * An OCI image layout in a folder (OCI image spec 1.1, image-layout): `oci-layout`, `index.json`, `blobs/sha256/HEX`.
 * Blobs are written under another name and renamed; `index.json` is replaced last, so that a killed write leaves
 * the earlier images whole.
 */
export class ImageLayout implements ImageSource {
  private constructor(readonly folder: string) {}

  get name(): string {
    return `oci:${this.folder}`;
  }

  /** Opens a layout that is there. @throws OciError when the folder holds none */
  static async open(folder: string): Promise<ImageLayout> {
    let text: string;
    try {
      text = await readFile(join(folder, 'oci-layout'), 'utf8');
    } catch (error) {
      throw new OciError(
        'not-found',
        `${folder} is not an OCI image layout: it has no readable file "oci-layout".`,
        {},
        { cause: error },
      );
    }
    const { imageLayoutVersion } = parseState(text, join(folder, 'oci-layout'));
    if (imageLayoutVersion !== '1.0.0') {
      throw new OciError('malformed', `${folder}: image layout version 1.0.0 is known, not ${text.trim()}.`);
    }
    return new ImageLayout(folder);
  }

  /** Opens a layout, or makes an empty one where there is none. */
  static async create(folder: string): Promise<ImageLayout> {
    await mkdir(join(folder, 'blobs/sha256'), { recursive: true });
    const layout = new ImageLayout(folder);
    // A torn one says nothing that is lost.
    const whole = await isJson(join(folder, 'oci-layout'));
    await layout.#write('oci-layout', '{"imageLayoutVersion":"1.0.0"}', { keep: whole });
    await layout.#write('index.json', JSON.stringify(emptyIndex()), { keep: true });
    return ImageLayout.open(folder);
  }

  /** The file that holds a blob. */
  path(descriptor: Pick<Descriptor, 'digest'>): string {
    return join(this.folder, 'blobs/sha256', hexOf(descriptor.digest));
  }

  /** Whether a blob of this digest and size is there. */
  async has(descriptor: Pick<Descriptor, 'digest' | 'size'>): Promise<boolean> {
    const found = await stat(this.path(descriptor)).catch(() => undefined);
    return found?.size === descriptor.size;
  }

  async blob(descriptor: Descriptor, signal?: AbortSignal): Promise<Readable> {
    if (!(await this.has(descriptor))) {
      throw new OciError(
        'not-found',
        `${this.name} lacks the blob ${descriptor.digest} of ${descriptor.size} bytes.`,
      );
    }
    const check = new CheckedStream(descriptor, `${this.name}: blob ${descriptor.digest}`);
    const file = createReadStream(this.path(descriptor), { signal });
    file.on('error', (error) => check.destroy(error));
    return file.pipe(check);
  }

  async manifest(tagOrDigest: string): Promise<{ descriptor: Descriptor; bytes: Buffer } | undefined> {
    const descriptor = tagOrDigest.startsWith('sha256:')
      ? await this.#describe(tagOrDigest as Descriptor['digest'])
      : (await this.index()).manifests.find((entry) => entry.annotations?.[tagAnnotation] === tagOrDigest);
    if (!descriptor) return undefined;
    const path = this.path(descriptor);
    if ((await stat(path)).size > manifestLimit) {
      throw new OciError('too-large', `${path} is larger than the ${manifestLimit} bytes of a manifest.`);
    }
    const bytes = await readFile(path);
    if (digestOf(bytes) !== descriptor.digest) {
      throw new OciError('mismatch', `${path} does not have the digest that it is named by.`);
    }
    return { descriptor, bytes };
  }

  /** The tags of the layout, in the order of its index. */
  async tags(): Promise<string[]> {
    return (await this.index()).manifests.flatMap((entry) => entry.annotations?.[tagAnnotation] ?? []);
  }

  async index(): Promise<ImageIndex> {
    const path = join(this.folder, 'index.json');
    return parseIndex(await readFile(path, 'utf8'), path);
  }

  /** Writes small content as a blob and describes it. */
  async putBytes(content: Uint8Array | string, mediaType: string): Promise<Descriptor> {
    const bytes = Buffer.from(content as string);
    const descriptor: Descriptor = { mediaType, digest: digestOf(bytes), size: bytes.length };
    await this.#write(join('blobs/sha256', hexOf(descriptor.digest)), bytes, { keep: true });
    return descriptor;
  }

  /** Writes a stream as a blob whose digest is found while writing. */
  async putStream(content: Readable, mediaType: string, signal?: AbortSignal): Promise<Descriptor> {
    const temporary = this.#temporary();
    const digest = new DigestStream();
    try {
      await pipeline(content, digest, createWriteStream(temporary), { signal });
      const descriptor: Descriptor = { mediaType, digest: digest.digest, size: digest.bytes };
      await rename(temporary, this.path(descriptor));
      return descriptor;
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
  }

  /**
   * Takes a file as a blob: as a hard link where the file system allows it, else as a copy, which is checked. A linked
   * file is not read: whoever reads the blob checks it.
   */
  async putFile(path: string, descriptor: Pick<Descriptor, 'digest' | 'size'>): Promise<void> {
    if (await this.has(descriptor)) return;
    const temporary = this.#temporary();
    try {
      await link(path, temporary).catch(async () => {
        const check = new CheckedStream(descriptor, path);
        await pipeline(createReadStream(path), check, createWriteStream(temporary));
      });
      await rename(temporary, this.path(descriptor));
    } finally {
      // Where another writer linked the same file meanwhile, a rename leaves both names.
      await rm(temporary, { force: true });
    }
  }

  /** Names a manifest; an earlier image of that tag is no longer named. The last step of writing an image. */
  async tag(tag: string, manifest: Descriptor): Promise<void> {
    const index = await this.index();
    const others = index.manifests.filter((entry) => entry.annotations?.[tagAnnotation] !== tag);
    const named = { ...manifest, annotations: { ...manifest.annotations, [tagAnnotation]: tag } };
    await this.#write('index.json', JSON.stringify({ ...index, manifests: [...others, named] }));
  }

  /** Deletes blobs that no manifest of the index reaches, and left-overs of killed writes. Returns the number of blobs deleted. */
  async collectGarbage(): Promise<number> {
    const reached = new Set<string>();
    const reach = async (descriptor: Descriptor): Promise<void> => {
      if (reached.has(descriptor.digest)) return;
      reached.add(descriptor.digest);
      if (
        ![mediaTypes.manifest, mediaTypes.dockerManifest].includes(descriptor.mediaType as never) &&
        !isIndexType(descriptor.mediaType)
      )
        return;
      const document: Partial<Manifest & ImageIndex> = JSON.parse(
        await readFile(this.path(descriptor), 'utf8'),
      );
      for (const child of [
        ...(document.manifests ?? []),
        ...(document.layers ?? []),
        ...(document.config ? [document.config] : []),
      ]) {
        await reach(child);
      }
    };
    for (const manifest of (await this.index()).manifests) await reach(manifest);
    let deleted = 0;
    for (const name of await readdir(join(this.folder, 'blobs/sha256'))) {
      const path = join(this.folder, 'blobs/sha256', name);
      if (reached.has(`sha256:${name}`) || (name.startsWith('.tmp-') && (await isYoung(path)))) continue;
      await unlink(path).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOENT') throw error;
      });
      deleted += 1;
    }
    return deleted;
  }

  async #describe(digest: Descriptor['digest']): Promise<Descriptor | undefined> {
    const bytes = await readFile(this.path({ digest })).catch(() => undefined);
    if (!bytes) return undefined;
    const document = JSON.parse(bytes.toString('utf8'));
    const mediaType = document.mediaType ?? (document.manifests ? mediaTypes.index : mediaTypes.manifest);
    return { mediaType, digest, size: bytes.length };
  }

  #temporary(): string {
    return join(this.folder, 'blobs/sha256', `.tmp-${randomBytes(8).toString('hex')}`);
  }

  async #write(name: string, content: string | Uint8Array, options: { keep?: boolean } = {}): Promise<void> {
    const path = join(this.folder, name);
    const found = options.keep ? await stat(path).catch(() => undefined) : undefined;
    if (found && (name === 'index.json' || found.size === Buffer.byteLength(content))) return;
    const temporary = join(dirname(path), `.tmp-${randomBytes(8).toString('hex')}`);
    await writeFile(temporary, content);
    await rename(temporary, path);
  }
}

/** Milliseconds after which nobody is writing a file any more that has a temporary name. */
const abandoned = 60 * 60_000;

/** Whether somebody may be writing a file; its inode changes when it is linked, not its content. */
async function isYoung(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  return found === undefined || Date.now() - found.ctimeMs < abandoned;
}

async function isJson(path: string): Promise<boolean> {
  try {
    JSON.parse(await readFile(path, 'utf8'));
    return true;
  } catch {
    return false;
  }
}

/** JSON of a file of the layout. @throws OciError naming the file */
function parseState(text: string, path: string): Record<string, unknown> {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw broken(path, `is not JSON: ${(error as Error).message}`);
  }
  return typeof json === 'object' && json !== null ? { ...json } : {};
}

/** @throws OciError naming the file, for one that is torn or names no valid digests */
function parseIndex(text: string, path: string): ImageIndex {
  const { manifests, ...rest } = parseState(text, path);
  const valid =
    Array.isArray(manifests) &&
    manifests.every(
      (entry: Partial<Descriptor> | null) =>
        /^sha256:[0-9a-f]{64}$/.test(entry?.digest ?? '') &&
        Number.isSafeInteger(entry?.size) &&
        typeof entry?.mediaType === 'string',
    );
  if (!valid) throw broken(path, 'is no index of images');
  return { schemaVersion: 2, ...rest, manifests };
}

function broken(path: string, why: string): OciError {
  return new OciError('malformed', `${path} ${why}.`, {
    hint: 'It was cut off or changed. Remove the layout and write its images again.',
  });
}

function emptyIndex(): ImageIndex {
  return { schemaVersion: 2, mediaType: mediaTypes.index, manifests: [] };
}
