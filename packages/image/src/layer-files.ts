import { basename, dirname } from 'node:path';
import { PassThrough, type Readable, type Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import * as zlib from 'node:zlib';
import { ElfScan, ScriptScan } from '@stackwright/buildcache';
import type { BaseImage, Descriptor } from '@stackwright/oci';
import { extract, type Header } from 'tar-stream';
import { ImageError } from './error.js';
import { type AskingFile, type FileKind, FileTree, keptText, type LayerFiles } from './file-tree.js';
import type { Staging } from './staging.js';

/** A layer that can be read from its start. */
export interface ReadableLayer {
  readonly descriptor: Descriptor;
  /** The bytes as they are stored, checked. */
  open(): Promise<Readable> | Readable;
}

const textLimit = 1024 * 1024;

/**
 * What a layer of any image holds. Each is read once and remembered by its digest.
 * @throws ImageError `base` when it is no tar, or compressed in a way that is not known here
 */
export async function filesOfLayer(
  layer: ReadableLayer,
  staging: Staging,
  signal?: AbortSignal,
): Promise<LayerFiles> {
  const key = `files-${layer.descriptor.digest}`;
  const known = await staging.recall(key);
  if (isLayerFiles(known)) return known;
  const read = await readLayerFiles(layer, signal);
  await staging.remember(key, read);
  return read;
}

/** The files of a base as a container would see them; those of its layers are read once and remembered. */
export async function filesOfBase(
  { image, source }: BaseImage,
  staging: Staging,
  signal?: AbortSignal,
): Promise<FileTree> {
  const layers: LayerFiles[] = [];
  for (const descriptor of image.manifest.layers)
    layers.push(
      await filesOfLayer({ descriptor, open: () => source.blob(descriptor, signal) }, staging, signal),
    );
  return new FileTree(layers);
}

async function readLayerFiles(
  { descriptor, open }: ReadableLayer,
  signal?: AbortSignal,
): Promise<LayerFiles> {
  const found = new FoundFiles();
  const reader = extract();
  const running = pipeline(await open(), expander(descriptor.mediaType), reader, { signal });
  running.catch(() => {});
  try {
    for await (const entry of reader) {
      await found.take(entry.header, entry as AsyncIterable<Buffer>);
      entry.resume();
    }
    await running;
  } catch (error) {
    // What the stream itself failed with says more than what broke because of it.
    const cause = await running.then(
      () => error,
      (reason: unknown) => reason,
    );
    if (!isBrokenTar(cause)) throw cause;
    throw new ImageError(
      'base',
      `The layer ${descriptor.digest} cannot be read: ${(cause as Error).message}.`,
      {
        hint: 'Build or pull the image again.',
      },
    );
  } finally {
    reader.destroy();
  }
  return found.result();
}

function isBrokenTar(error: unknown): boolean {
  const { code = '', message = '' } = error as NodeJS.ErrnoException;
  return code.startsWith('Z_') || /end of data|tar header|tar archive|premature/i.test(message);
}

/** What makes a tar of a layer's bytes. */
function expander(mediaType: string): Transform {
  if (/[.+]gzip$/.test(mediaType)) return zlib.createGunzip();
  if (!/[.+]zstd$/.test(mediaType)) return new PassThrough();
  if ('createZstdDecompress' in zlib) return (zlib.createZstdDecompress as () => Transform)();
  throw new ImageError('base', 'A layer is compressed with zstd, which this Node cannot read.', {
    hint: 'Use Node 22.15 or later, or an image with gzip layers.',
  });
}

/** Collects what a layer's entries say. */
class FoundFiles {
  readonly #files: Record<string, FileKind> = {};
  readonly #removed: string[] = [];
  readonly #emptied: string[] = [];
  readonly #texts: Record<string, string> = {};
  readonly #asking: AskingFile[] = [];

  async take(header: Header, content: AsyncIterable<Buffer>): Promise<void> {
    const path = `/${header.name.replace(/^(?:\.?\/)+/, '').replace(/\/+$/, '')}`;
    const name = basename(path);
    if (name === '.wh..wh..opq') this.#emptied.push(dirname(path));
    else if (name.startsWith('.wh.'))
      this.#removed.push(`${dirname(path).replace(/\/$/, '')}/${name.slice(4)}`);
    else if (path !== '/') await this.#takeFile(path, header, content);
  }

  result(): LayerFiles {
    return {
      files: this.#files,
      removed: this.#removed,
      emptied: this.#emptied,
      texts: this.#texts,
      asking: this.#asking,
    };
  }

  async #takeFile(path: string, header: Header, content: AsyncIterable<Buffer>): Promise<void> {
    const { type, linkname } = header;
    if (type === 'directory') this.#files[path] = 'folder';
    else if (type === 'symlink') this.#files[path] = { link: linkname ?? '' };
    else this.#files[path] = 'file';
    if (type !== 'file' && type !== 'contiguous-file') return;
    const size = header.size ?? 0;
    if (keptText(path) && size <= textLimit) this.#texts[path] = await textOf(content);
    else await this.#scan(path, header.mode ?? 0, size, content);
  }

  async #scan(path: string, mode: number, size: number, content: AsyncIterable<Buffer>): Promise<void> {
    const item = { entry: { name: path.slice(1), type: 'file' as const, mode, size }, content };
    const elf = new ElfScan();
    const scripts = new ScriptScan();
    for await (const _ of scripts.watch({ ...item, content: elf.watch(item) }));
    const { interpreters, needed, provided } = elf.result();
    const shebangs = scripts.result();
    if (interpreters.length + needed.length + provided.length + shebangs.length > 0)
      this.#asking.push({ path, interpreters, needed, provided, shebangs });
  }
}

async function textOf(content: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of content) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}

function isLayerFiles(value: unknown): value is LayerFiles {
  const { files, asking } = (value ?? {}) as Partial<LayerFiles>;
  return typeof files === 'object' && Array.isArray(asking);
}
