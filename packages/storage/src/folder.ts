import { randomBytes } from 'node:crypto';
import {
  type BigIntStats,
  closeSync,
  constants,
  createReadStream,
  createWriteStream,
  type Dirent,
  fstatSync,
  openSync,
  readdirSync,
  readSync,
} from 'node:fs';
import { copyFile, link, mkdir, readFile, rename, rmdir, stat, unlink, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { setImmediate as turn } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { StorageError } from './error.js';
import { locked } from './lock.js';
import {
  type Content,
  checkCount,
  checkKey,
  type GetOptions,
  type ListOptions,
  type ObjectInfo,
  type ObjectStore,
  type PutOptions,
  type StoredObject,
  type Wait,
} from './store.js';

/** Bytes that a small object has at most. */
const smallLimit = 256 * 1024 * 1024;
/** Milliseconds that reading a small file takes on a slow disk. */
const slowRead = 0.5;

/**
 * Objects as files of a folder. A write goes to a file beside its target and is moved over it, so that a reader
 * sees the old or the new object and a killed writer leaves only a `.NAME.XXXX.tmp`, which listings leave out.
 */
export class FolderStore implements ObjectStore {
  readonly url: string;
  readonly readOnly = false;
  readonly canList = true;
  readonly conditional: boolean = true;
  readonly root: string;
  /** Milliseconds that a small file takes to read, by the last few. */
  #readTime = 0;
  /** When others last had a turn: reading many files must not keep signals and timers waiting. */
  #lastTurn = performance.now();

  constructor(root: string) {
    this.root = resolve(root);
    this.url = pathToFileURL(this.root).href;
  }

  async get(key: string, options: GetOptions = {}): Promise<StoredObject> {
    options.signal?.throwIfAborted();
    const info = await this.head(key, options);
    if (!info) throw this.#missing(key);
    const { start = 0, end } = options.range ?? {};
    const body = createReadStream(this.#path(key), {
      start,
      end,
      highWaterMark: 1 << 18,
      signal: options.signal,
    });
    // It can fail before anybody reads; whoever reads then is told.
    body.on('error', () => {});
    const size = Math.max(0, Math.min(info.size ?? 0, (end ?? Number.POSITIVE_INFINITY) + 1) - start);
    return { ...info, size, body };
  }

  async readSmall(key: string, options: Wait = {}): Promise<{ bytes: Buffer; info: ObjectInfo }> {
    options.signal?.throwIfAborted();
    const path = this.#path(key);
    // What the system has in memory is read in less time than it takes to hand it to another thread. Where reading
    // takes long, several are read at once instead; now and then one shows whether that is still so.
    const atOnce = this.#readTime < slowRead;
    if (!atOnce) this.#readTime *= 0.995;
    try {
      const found = atOnce ? await this.#readNow(path) : await readLater(path, options.signal);
      if (!found) throw this.#missing(key);
      if (typeof found === 'number') {
        throw new StorageError('invalid', `${this.root}/${key} is too large: ${found} bytes.`, { key });
      }
      return { bytes: found.bytes, info: infoOf(key, found.stat) };
    } catch (error) {
      options.signal?.throwIfAborted();
      if (error instanceof StorageError) throw error;
      if (isMissing(error)) throw this.#missing(key);
      throw this.#failed('read', key, error);
    }
  }

  async head(key: string, options: Wait = {}): Promise<ObjectInfo | undefined> {
    options.signal?.throwIfAborted();
    try {
      const found = await stat(this.#path(key), { bigint: true });
      return found.isFile() ? infoOf(key, found) : undefined;
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw this.#failed('read', key, error);
    }
  }

  async put(key: string, content: Content, options: PutOptions = {}): Promise<ObjectInfo> {
    const path = this.#path(key);
    const temporary = join(
      dirname(path),
      `.${basename(path).slice(0, 180)}.${randomBytes(6).toString('hex')}.tmp`,
    );
    try {
      await this.#write(temporary, content, options.signal);
      if (options.precondition) await this.#commitIf(key, temporary, path, options);
      else await rename(temporary, path);
    } catch (error) {
      await unlink(temporary).catch(() => {});
      if (error instanceof StorageError || (error as Error).name === 'AbortError') throw error;
      options.signal?.throwIfAborted();
      // What the content's own stream failed with is its owner's to tell.
      if ((error as NodeJS.ErrnoException).syscall === undefined) throw error;
      throw this.#failed('write', key, error);
    }
    const info = await this.head(key);
    if (!info) throw this.#missing(key);
    return info;
  }

  async *list(prefix: string, options: ListOptions = {}): AsyncIterable<ObjectInfo> {
    const cut = prefix.lastIndexOf('/');
    const folder = cut < 0 ? '' : prefix.slice(0, cut);
    for await (const keys of this.#folders(folder, options.signal)) {
      for (const key of keys) {
        if (isOwn(basename(key)) || !key.startsWith(prefix)) continue;
        if (options.keysOnly) {
          yield { key, size: undefined, etag: undefined, modified: undefined };
          continue;
        }
        const info = await this.head(key, options);
        if (info) yield info;
      }
    }
  }

  async copy(from: string, to: string, options: Wait = {}): Promise<void> {
    options.signal?.throwIfAborted();
    const target = this.#path(to);
    const temporary = join(
      dirname(target),
      `.${basename(target).slice(0, 180)}.${randomBytes(6).toString('hex')}.tmp`,
    );
    try {
      await mkdir(dirname(target), { recursive: true });
      await copyFile(this.#path(from), temporary);
      options.signal?.throwIfAborted();
      await rename(temporary, target);
    } catch (error) {
      await unlink(temporary).catch(() => {});
      options.signal?.throwIfAborted();
      if (isMissing(error)) throw this.#missing(from);
      throw this.#failed('copy', from, error);
    }
  }

  async delete(keys: Iterable<string> | AsyncIterable<string>, options: Wait = {}): Promise<number> {
    let count = 0;
    for await (const key of keys) {
      options.signal?.throwIfAborted();
      const path = this.#path(key);
      try {
        await unlink(path);
      } catch (error) {
        if (!isMissing(error)) throw this.#failed('delete', key, error);
      }
      count++;
      // Folders that became empty go too, as far up as they are empty.
      for (let folder = dirname(path); folder.length > this.root.length; folder = dirname(folder)) {
        try {
          await rmdir(folder);
        } catch {
          break;
        }
      }
    }
    return count;
  }

  async close(): Promise<void> {}

  async sweep(age: number, signal?: AbortSignal): Promise<number> {
    let count = 0;
    for await (const keys of this.#folders('', signal)) {
      for (const key of keys) {
        if (!isOwn(basename(key))) continue;
        const path = join(this.root, key);
        const found = await stat(path).catch(() => undefined);
        if (found && Date.now() - found.mtimeMs >= age) {
          await unlink(path).catch(() => {});
          count++;
        }
      }
    }
    return count;
  }

  async #write(path: string, content: Content, signal: AbortSignal | undefined): Promise<void> {
    // A deleting neighbour may take the folder away between the two steps.
    for (let attempt = 1; ; attempt++) {
      try {
        await mkdir(dirname(path), { recursive: true });
        if (content instanceof Uint8Array) {
          await writeFile(path, content, { flag: 'wx', signal });
          return;
        }
        const file = createWriteStream(path, { flags: 'wx', highWaterMark: 1 << 20 });
        // A write that is aborted before the file is open makes the file all the same, later.
        const closed = new Promise<void>((resolve) => file.once('close', resolve));
        const counted = (stream: AsyncIterable<Buffer>) => countTo(stream, content.size, path);
        await pipeline(content.open(), counted, file, { signal }).finally(() => closed);
        return;
      } catch (error) {
        if (!isMissing(error) || attempt === 5) throw error;
      }
    }
  }

  async #commitIf(key: string, temporary: string, path: string, options: PutOptions): Promise<void> {
    const { precondition } = options;
    if (precondition && 'absent' in precondition) {
      try {
        // Unlike a move, a link fails when its target is there: the file system picks the one winner.
        await link(temporary, path);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'EEXIST') throw this.#precondition(key);
        throw error;
      }
      await unlink(temporary);
      return;
    }
    await locked(path, options.signal, async () => {
      const now = await this.head(key);
      if (now?.etag !== precondition?.match) throw this.#precondition(key);
      await rename(temporary, path);
    });
  }

  /** Keys of the files of a folder and of all folders in it, a folder at a time. */
  async *#folders(top: string, signal: AbortSignal | undefined): AsyncGenerator<string[]> {
    const waiting = [top];
    for (let folder = waiting.pop(); folder !== undefined; folder = waiting.pop()) {
      signal?.throwIfAborted();
      let entries: Dirent[];
      try {
        entries = readdirSync(join(this.root, folder), { withFileTypes: true });
      } catch (error) {
        if (isMissing(error)) continue;
        throw this.#failed('list', folder, error);
      }
      const files: string[] = [];
      for (const entry of entries) {
        const key = folder === '' ? entry.name : `${folder}/${entry.name}`;
        if (entry.isDirectory()) waiting.push(key);
        else if (entry.isFile() || entry.isSymbolicLink()) files.push(key);
      }
      yield files;
      await this.#giveTurn();
    }
  }

  async #readNow(path: string): Promise<Small | undefined> {
    const started = performance.now();
    try {
      return readNow(path);
    } finally {
      const now = performance.now();
      // A pause for another cause counts no more than a slow disk.
      this.#readTime += (Math.min(now - started, 2) - this.#readTime) / 10;
      await this.#giveTurn(now);
    }
  }

  async #giveTurn(now = performance.now()): Promise<void> {
    if (now - this.#lastTurn <= 10) return;
    this.#lastTurn = now;
    await turn();
  }

  #path(key: string): string {
    return join(this.root, checkKey(key));
  }

  #missing(key: string): StorageError {
    return new StorageError('not-found', `${this.root}/${key}: no such file.`, { store: this.url, key });
  }

  #precondition(key: string): StorageError {
    return new StorageError('precondition', `${this.root}/${key} was written by another process meanwhile.`, {
      store: this.url,
      key,
    });
  }

  #failed(what: string, key: string, error: unknown): StorageError {
    const { code, message } = error as NodeJS.ErrnoException;
    const denied = code === 'EACCES' || code === 'EPERM' || code === 'EROFS';
    return new StorageError(
      denied ? 'denied' : code === 'EISDIR' || code === 'ENOTDIR' ? 'invalid' : 'unavailable',
      `Cannot ${what} ${this.root}/${key}: ${message}.`,
      { store: this.url, key, hint: code === 'ENOSPC' ? 'The disk is full.' : undefined },
      { cause: error },
    );
  }
}

async function* countTo(stream: AsyncIterable<Buffer>, size: number, path: string): AsyncGenerator<Buffer> {
  let count = 0;
  for await (const chunk of stream) {
    count += chunk.length;
    if (count > size) break;
    yield chunk;
  }
  checkCount(count, size, path);
}

/** A small file with its facts, or its bytes where those are too many. */
type Small = { readonly bytes: Buffer; readonly stat: BigIntStats } | number;

/** Undefined for what is no file. */
function readNow(path: string): Small | undefined {
  // Opening a pipe would wait for who writes to it.
  const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const found = fstatSync(file, { bigint: true });
    if (!found.isFile()) return undefined;
    const size = Number(found.size);
    if (size > smallLimit) return size;
    const bytes = Buffer.allocUnsafe(size);
    let at = 0;
    while (at < size) {
      const count = readSync(file, bytes, at, size - at, at);
      if (count === 0) break;
      at += count;
    }
    return { bytes: bytes.subarray(0, at), stat: found };
  } finally {
    closeSync(file);
  }
}

async function readLater(path: string, signal: AbortSignal | undefined): Promise<Small | undefined> {
  const found = await stat(path, { bigint: true });
  if (!found.isFile()) return undefined;
  if (found.size > smallLimit) return Number(found.size);
  return { bytes: await readFile(path, { signal }), stat: found };
}

function infoOf(key: string, found: BigIntStats): ObjectInfo {
  return {
    key,
    size: Number(found.size),
    etag: `${found.ino}-${found.size}-${found.mtimeNs}`,
    modified: new Date(Number(found.mtimeMs)),
  };
}

/** Files of this store's own making, which are no objects. */
function isOwn(name: string): boolean {
  return name.startsWith('.') && (name.endsWith('.tmp') || name.endsWith('.lock'));
}

function isMissing(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ENOENT' || code === 'ENOTDIR';
}
