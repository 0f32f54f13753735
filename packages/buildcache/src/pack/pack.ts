import { createHash } from 'node:crypto';
import {
  closeSync,
  createReadStream,
  type Dirent,
  lstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
} from 'node:fs';
import { mediaTypes } from '@stackwright/oci';
import { BuildcacheError } from '../error.js';
import type { PackedLayer } from '../mirror-writer.js';
import type { BuildInfo } from './buildinfo.js';
import { formatBuildInfo } from './buildinfo.js';
import { gzip } from './gzip.js';
import { bytesOf, compareNames, nameOf } from './name.js';
import { FileClassifier, fileKind, isExecutableFormat, PrefixSearch } from './scan.js';
import { type TarItem, tarBytes } from './tar.js';

/** What is known of an installed package before its files are read. */
export type PackInfo = Omit<BuildInfo, 'binaries' | 'links' | 'textFiles'>;

/** Bytes of a file up to which it is held in memory. */
const wholeFile = 4 * 1024 * 1024;
const none: readonly Buffer[] = [];

/**
 * The entries of an installed prefix in the order, and with the headers, of Spack's own archive (its
 * `reproducible_tarfile_from_prefix`): parents, then depth first, in each folder its files before its folders, sorted;
 * `.spack/binary_distribution` last, made anew.
 * @param prefix absolute path of the package as it is installed
 * @param options.from where its files lie, when that is another folder
 * @param options.reuse whether a content's bytes need to hold only until the next one is asked for
 * @throws BuildcacheError `install-tree` when it is no folder, or a file changes while it is read
 */
export async function* packPrefix(
  prefix: string,
  info: PackInfo,
  options: { readonly from?: string; readonly reuse?: boolean; readonly signal?: AbortSignal } = {},
): AsyncGenerator<TarItem> {
  const root = prefix.replace(/\/+$/, '');
  const from = (options.from ?? root).replace(/\/+$/, '');
  const onDisk = (path: string) => from + path.slice(root.length);
  const search = new PrefixSearch([...info.prefixes.values(), info.sbangPath, info.root]);
  const lists = { binaries: [] as string[], links: [] as string[], textFiles: [] as string[] };
  const seen = new Map<string, string>();
  let shared = Buffer.alloc(0);
  const space = (size: number) => {
    if (!options.reuse) return Buffer.allocUnsafe(size);
    if (shared.length < size) shared = Buffer.allocUnsafeSlow(Math.min(wholeFile, size * 2));
    return shared.subarray(0, size);
  };
  const own = inodeOf(`${from}/.spack/binary_distribution`);

  for (const parent of parents(root)) yield folder(parent);
  const stack = [root];
  for (let path = stack.pop(); path !== undefined; path = stack.pop()) {
    options.signal?.throwIfAborted();
    yield folder(path);
    const folders: string[] = [];
    for (const { name, dirent } of sortedEntries(onDisk(path))) {
      const at = `${path}/${name}`;
      if (dirent.isDirectory()) {
        folders.push(at);
        continue;
      }
      const relative = at.slice(root.length + 1);
      if (dirent.isSymbolicLink()) {
        const target = nameOf(readlinkSync(bytesOf(onDisk(at)), { encoding: 'buffer' }));
        if (target.startsWith('/') && search.leads(target)) lists.links.push(relative);
        yield { entry: { name: at.slice(1), type: 'symlink', mode: 0o755, size: 0, target }, content: none };
      } else if (dirent.isFile()) {
        const stat = lstatSync(bytesOf(onDisk(at)));
        const inode = `${stat.dev}:${stat.ino}`;
        if (inode === own) continue;
        const mode = stat.mode & 0o100 ? 0o755 : 0o644;
        const first = seen.get(inode);
        if (stat.nlink > 1 && first !== undefined) {
          yield {
            entry: { name: at.slice(1), type: 'hardlink', mode, size: 0, target: first },
            content: none,
          };
          continue;
        }
        if (stat.nlink > 1) seen.set(inode, at.slice(1));
        const { content, kind } = await readForPacking(onDisk(at), stat.size, relative, search, space);
        if (kind === 'binary') lists.binaries.push(relative);
        else if (kind === 'relocatable') lists.textFiles.push(relative);
        yield { entry: { name: at.slice(1), type: 'file', mode, size: stat.size }, content };
      }
    }
    stack.push(...folders.reverse());
  }
  const text = Buffer.from(formatBuildInfo({ ...info, ...lists }), 'utf8');
  yield {
    entry: {
      name: `${root}/.spack/binary_distribution`.slice(1),
      type: 'file',
      mode: 0o644,
      size: text.length,
    },
    content: [text],
  };
}

/**
 * Entries as a gzip archive, several cores at a time, always the same bytes for the same entries.
 * @param done gets checksums and lengths once the last byte was read
 */
export async function* packedBytes(
  items: AsyncIterable<TarItem> | Iterable<TarItem>,
  done: (packed: PackedLayer) => void,
): AsyncGenerator<Buffer> {
  const plain = createHash('sha256');
  const packed = createHash('sha256');
  let tarSize = 0;
  let size = 0;
  const counted = async function* () {
    for await (const chunk of tarBytes(items)) {
      plain.update(chunk);
      tarSize += chunk.length;
      yield chunk;
    }
  };
  for await (const chunk of gzip(counted())) {
    packed.update(chunk);
    size += chunk.length;
    yield chunk;
  }
  done({
    descriptor: { mediaType: mediaTypes.layerGzip, digest: `sha256:${packed.digest('hex')}`, size },
    diffId: `sha256:${plain.digest('hex')}`,
    tarSize,
  });
}

function folder(path: string): TarItem {
  return { entry: { name: path.slice(1), type: 'folder', mode: 0o755, size: 0 }, content: none };
}

/** The folders above an absolute path, from the top. */
function parents(path: string): string[] {
  const parts = path.split('/').slice(1, -1);
  return parts.map((_, index) => `/${parts.slice(0, index + 1).join('/')}`);
}

// Folders and small files are read synchronously: the thread pool is busy with compression, and each of an
// asynchronous read's steps would queue behind it.
function sortedEntries(path: string): { name: string; dirent: Dirent<Buffer> }[] {
  let entries: Dirent<Buffer>[];
  try {
    entries = readdirSync(bytesOf(path), { withFileTypes: true, encoding: 'buffer' });
  } catch (error) {
    throw new BuildcacheError('install-tree', `Cannot read ${path}: ${(error as Error).message}.`, {
      file: path,
    });
  }
  return entries
    .map((dirent) => ({ name: nameOf(dirent.name), dirent }))
    .sort((a, b) => compareNames(a.name, b.name));
}

function inodeOf(path: string): string | undefined {
  const stat = lstatSync(bytesOf(path), { throwIfNoEntry: false });
  return stat && `${stat.dev}:${stat.ino}`;
}

async function readForPacking(
  path: string,
  size: number,
  relative: string,
  search: PrefixSearch,
  space: (size: number) => Buffer,
): Promise<{ content: AsyncIterable<Buffer> | Iterable<Buffer>; kind: 'binary' | 'relocatable' | 'other' }> {
  // Spack relocates nothing of its own metadata.
  const metadata = relative.startsWith('.spack/');
  if (size <= wholeFile) {
    const content = readInto(space(size), path);
    if (metadata) return { content: [content], kind: 'other' };
    const kind = fileKind(content);
    const found = kind === 'text' && search.found(content);
    return { content: [content], kind: kind === 'binary' ? 'binary' : found ? 'relocatable' : 'other' };
  }
  const kind = metadata ? 'other' : await scanLarge(path, search);
  return { content: createReadStream(bytesOf(path), { highWaterMark: 1 << 20, end: size - 1 }), kind };
}

/** As much of a file as there is space for. */
function readInto(space: Buffer, path: string): Buffer {
  const file = openSync(bytesOf(path), 'r');
  try {
    let at = 0;
    while (at < space.length) {
      const count = readSync(file, space, at, space.length - at, at);
      if (count === 0) break;
      at += count;
    }
    return space.subarray(0, at);
  } finally {
    closeSync(file);
  }
}

async function scanLarge(path: string, search: PrefixSearch): Promise<'binary' | 'relocatable' | 'other'> {
  const head = readInto(Buffer.alloc(8), path);
  if (isExecutableFormat(head)) return 'binary';
  const classifier = new FileClassifier();
  for await (const chunk of createReadStream(bytesOf(path), { highWaterMark: 1 << 20 })) {
    if (!classifier.update(chunk as Buffer)) break;
  }
  if (classifier.finish() !== 'text') return 'other';
  let tail = Buffer.alloc(0);
  for await (const chunk of createReadStream(bytesOf(path), { highWaterMark: 4 << 20 })) {
    const both = Buffer.concat([tail, chunk as Buffer]);
    if (search.found(both)) return 'relocatable';
    tail = Buffer.from(both.subarray(Math.max(0, both.length - search.overlap)));
  }
  return 'other';
}
