import { randomBytes } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import {
  copyFile,
  link,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  unlink,
  writeFile,
} from 'node:fs/promises';
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
    if (JSON.parse(text).imageLayoutVersion !== '1.0.0') {
      throw new OciError('malformed', `${folder}: image layout version 1.0.0 is known, not ${text.trim()}.`);
    }
    return new ImageLayout(folder);
  }

  /** Opens a layout, or makes an empty one where there is none. */
  static async create(folder: string): Promise<ImageLayout> {
    await mkdir(join(folder, 'blobs/sha256'), { recursive: true });
    const layout = new ImageLayout(folder);
    await layout.#write('oci-layout', '{"imageLayoutVersion":"1.0.0"}', { keep: true });
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
    return JSON.parse(await readFile(join(this.folder, 'index.json'), 'utf8'));
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
   * Takes a file as a blob: as a hard link where the file system allows it, else as a copy.
   * The caller has checked that the file is what the descriptor says.
   */
  async putFile(path: string, descriptor: Pick<Descriptor, 'digest' | 'size'>): Promise<void> {
    if (await this.has(descriptor)) return;
    const temporary = this.#temporary();
    await link(path, temporary).catch(() => copyFile(path, temporary));
    await rename(temporary, this.path(descriptor));
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
      if (reached.has(`sha256:${name}`)) continue;
      await unlink(join(this.folder, 'blobs/sha256', name));
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
    if (options.keep && (await stat(path).catch(() => undefined))) return;
    const temporary = join(dirname(path), `.tmp-${randomBytes(8).toString('hex')}`);
    await writeFile(temporary, content);
    await rename(temporary, path);
  }
}

function emptyIndex(): ImageIndex {
  return { schemaVersion: 2, mediaType: mediaTypes.index, manifests: [] };
}
