import { randomBytes } from 'node:crypto';
import {
  closeSync,
  createWriteStream,
  futimesSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  openSync,
  symlinkSync,
  writeSync,
} from 'node:fs';
import { access, lutimes, mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { extract, type Header } from 'tar-stream';
import { BuildcacheError, type BuildcacheErrorCode } from '../error.js';
import { type BuildInfo, parseBuildInfo } from '../pack/buildinfo.js';
import { bytesOf } from '../pack/name.js';
import type { TarItem } from '../pack/tar.js';
import { type NewPlaces, type Relocation, relocationOf, withSbang } from './relocate.js';
import { relocatedLarge } from './relocate-large.js';

export interface UnpackOptions {
  /** Names the package in messages. */
  readonly what: string;
  /** Bytes that all contents may have together; 64 GiB when left out. A gzip bomb ends here. */
  readonly limit?: number;
  /** Sees every byte of the uncompressed archive, padding included. */
  readonly onBytes?: (bytes: Buffer) => void;
  /**
   * Refuse what Spack never writes and what would have an effect in an image that no package may have: setuid, setgid and
   * sticky bits, files that hide others (`.wh.…`), extended attributes and capabilities, other owners than root.
   */
  readonly layer?: boolean;
  readonly signal?: AbortSignal;
}

const infoName = '.spack/binary_distribution';
/** Bytes of a file up to which it is written at once: asking another thread for each step takes longer than the step. */
const writtenAtOnce = 1024 * 1024;
/** Bytes of a file up to which it is held in memory while it is changed. */
const inMemory = 16 * 1024 * 1024;

/**
 * The entries of a package's tarball (gzip), checked: names are relative and stay below `/`, nothing is written through
 * a link, hard links point to files that came before, there are only files, folders and links. Contents stream.
 * @throws BuildcacheError `tar-path`, `tar-type`, `tar-size`, `tarball`, `compression`
 */
export async function* tarEntries(tarball: Readable, options: UnpackOptions): AsyncGenerator<TarItem> {
  const { what, limit = 64 * 1024 ** 3 } = options;
  const refusal = (code: BuildcacheErrorCode, why: string) =>
    new BuildcacheError(code, `${what}: its tarball ${why}.`, {
      package: what,
      hint: 'Nothing of it was kept. Push the package again.',
    });
  const refuse = (code: BuildcacheErrorCode, why: string): never => {
    throw refusal(code, why);
  };
  const gunzip = createGunzip();
  const reader = extract();
  if (options.onBytes) gunzip.on('data', options.onBytes);
  const running = pipeline(tarball, gunzip, reader, { signal: options.signal });
  running.catch(() => {});
  /** What the tarball's reader failed with, in terms of the package. */
  const explained = async (error: unknown): Promise<unknown> => {
    if (error instanceof BuildcacheError || options.signal?.aborted) return error;
    const { code, message } = error as NodeJS.ErrnoException;
    if (code?.startsWith('Z_')) return refusal('compression', `is no valid gzip: ${message}`);
    // What the stream itself failed with (a checksum, a connection) says more than what broke because of it.
    const cause = await running.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    if (cause instanceof Error && cause !== error && !/premature/i.test(cause.message)) return cause;
    const broken = /end of data|invalid (tar )?header|exceeds max size|premature/i.test(message);
    return broken ? refusal('tarball', `is broken: ${message}`) : error;
  };
  const kinds = new Map<string, string>();
  let total = 0;
  try {
    for await (const entry of reader) {
      const { header } = entry;
      const name = checkName(header.name, refuse);
      const type = typeOf(header, refuse);
      const size = sizeOf(header, name, type, refuse);
      if (options.layer) checkForLayer(header, name, refuse);
      total += size;
      if (total > limit) refuse('tar-size', `holds more than ${limit} bytes`);
      const known = kinds.get(name);
      if (known !== undefined && !(known === 'folder' && type === 'folder')) {
        refuse('tar-path', `has ${name} twice`);
      }
      checkParents(name, kinds, refuse);
      kinds.set(name, type);
      let target: string | undefined;
      if (type === 'hardlink') {
        target = checkName(header.linkname ?? '', refuse);
        if (kinds.get(target) !== 'file')
          refuse('tar-path', `links ${name} to ${target}, which is no file before it`);
      } else if (type === 'symlink') {
        target = header.linkname ?? '';
        if (target === '' || target.includes('\0')) refuse('tar-path', `has the link ${name} to nowhere`);
      }
      const mode = type === 'folder' || type === 'symlink' || (header.mode ?? 0) & 0o100 ? 0o755 : 0o644;
      yield {
        entry: { name, type, mode, size, ...(target === undefined ? {} : { target }) },
        content: type === 'file' ? contentOf(entry as AsyncIterable<Buffer>, explained) : [],
      };
      // Whoever takes an item need not read it.
      entry.resume();
    }
    await running;
  } catch (error) {
    throw await explained(error);
  } finally {
    reader.destroy();
    gunzip.destroy();
    tarball.destroy();
  }
}

async function* contentOf(
  entry: AsyncIterable<Buffer>,
  explained: (error: unknown) => Promise<unknown>,
): AsyncGenerator<Buffer> {
  try {
    yield* entry;
  } catch (error) {
    throw await explained(error);
  }
}

/**
 * Reads a package's `binary_distribution`, which is the last entry of its tarball, and the prefix it was built at.
 * @throws BuildcacheError `tarball` when it has none
 */
export async function readBuildInfo(
  tarball: Readable,
  options: UnpackOptions,
): Promise<{ info: BuildInfo; prefix: string }> {
  let found: { name: string; text: string } | undefined;
  for await (const { entry, content } of tarEntries(tarball, options)) {
    if (entry.type !== 'file' || !entry.name.endsWith(`/${infoName}`)) continue;
    if (found && found.name.length <= entry.name.length) continue;
    if (entry.size > 64 * 1024 * 1024) break;
    const bytes = await collect(content);
    found = { name: entry.name, text: bytes.toString('utf8') };
  }
  if (!found) {
    throw new BuildcacheError('tarball', `${options.what}: its tarball has no ${infoName}.`, {
      package: options.what,
      hint: 'It is no package of Spack, or one of a very old Spack.',
    });
  }
  return {
    info: parseBuildInfo(found.text, options.what),
    prefix: `/${found.name.slice(0, -infoName.length - 1)}`,
  };
}

/**
 * A package's entries at their new place, with every path in them replaced: text, strings in binaries and static
 * archives, search paths, interpreters, links, and first lines. The same input gives the same entries.
 * @param items what `tarEntries` gave
 * @param prefix where the package was built, from `readBuildInfo`
 * @param places.temporary where large files wait while they are changed; the system's temporary folder when left out
 * @throws BuildcacheError `relocation` naming the file, `tar-path` for an entry outside the prefix
 */
export async function* relocatedEntries(
  items: AsyncIterable<TarItem>,
  info: BuildInfo,
  prefix: string,
  places: NewPlaces & { readonly what: string; readonly temporary?: string },
): AsyncGenerator<TarItem> {
  const relocation = relocationOf(info, places);
  const own = [...info.prefixes].find(([, path]) => path === prefix)?.[0];
  const target = (own !== undefined ? places.prefixes?.get(own) : undefined) ?? relocation.path(prefix);
  const sbangPath = places.sbangPath ?? `${places.root}/bin/sbang`;
  const kinds = {
    binaries: new Set(info.binaries),
    text: new Set(info.textFiles),
    links: new Set(info.links),
  };
  const at = prefix.slice(1);
  const moved = (name: string) => target.slice(1) + name.slice(at.length);

  yield* parentsOf(target);
  for await (const { entry, content } of items) {
    const { name } = entry;
    if (entry.type === 'folder' && (at === name || at.startsWith(`${name}/`))) {
      if (at === name) yield { entry: { ...entry, name: moved(name) }, content };
      continue;
    }
    if (!name.startsWith(`${at}/`)) {
      throw new BuildcacheError(
        'tar-path',
        `${places.what}: its tarball has /${name}, outside of its prefix ${prefix}.`,
        {
          package: places.what,
          file: name,
        },
      );
    }
    const relative = name.slice(at.length + 1);
    const file = `${places.what}: ${relative}`;
    if (entry.type === 'hardlink') {
      yield { entry: { ...entry, name: moved(name), target: moved(entry.target!) }, content };
    } else if (entry.type === 'symlink') {
      const link = kinds.links.has(relative) ? relocation.link(entry.target!) : entry.target!;
      yield { entry: { ...entry, name: moved(name), target: link }, content };
    } else if (entry.type === 'folder' || relocation.isEmpty || relative.startsWith('.spack/')) {
      yield { entry: { ...entry, name: moved(name) }, content };
    } else {
      yield* relocatedFile({ entry: { ...entry, name: moved(name) }, content }, file, relocation, {
        text: kinds.text.has(relative),
        binary: kinds.binaries.has(relative),
        sbangPath,
        temporary: places.temporary,
      });
    }
  }
}

async function* relocatedFile(
  item: TarItem,
  file: string,
  relocation: Relocation,
  how: {
    readonly text: boolean;
    readonly binary: boolean;
    readonly sbangPath: string;
    readonly temporary: string | undefined;
  },
): AsyncGenerator<TarItem> {
  const { entry } = item;
  let { content } = item;
  if (!how.text && !how.binary) {
    // Spack leaves static archives alone; their strings hold the old prefix as those of a shared library do.
    const { head, rest } = await peek(content, 8);
    const magic = head.toString('latin1', 0, 8);
    if (magic !== '!<arch>\n' && magic !== '!<thin>\n') {
      yield { entry, content: rest };
      return;
    }
    content = rest;
  }
  const text = how.text && !how.binary;
  const sbangPath = entry.mode & 0o100 ? how.sbangPath : undefined;
  if (entry.size > inMemory) {
    const kind = text ? ({ kind: 'text', sbangPath } as const) : ({ kind: 'binary' } as const);
    const large = await relocatedLarge(content, relocation, file, kind, how.temporary);
    try {
      yield { entry: { ...entry, size: large.size }, content: large.content };
    } finally {
      await large.dispose();
    }
    return;
  }
  const old = await collect(content);
  const moved = text ? relocation.text(old) : relocation.binary(old, file);
  const bytes = text && sbangPath !== undefined ? withSbang(moved, sbangPath) : moved;
  yield { entry: { ...entry, size: bytes.length }, content: [bytes] };
}

/**
 * Writes entries below a folder, as the tree that stands at `prefix` in them. It appears whole or not at all.
 * @param destination must not be there yet
 * @throws BuildcacheError `tar-path` for an entry outside the prefix
 */
export async function extractEntries(
  items: AsyncIterable<TarItem>,
  prefix: string,
  destination: string,
  signal?: AbortSignal,
): Promise<void> {
  const at = prefix.replace(/^\/|\/+$/g, '');
  const part = join(dirname(destination), `.stackwright-part-${randomBytes(6).toString('hex')}`);
  if (
    await access(destination).then(
      () => true,
      () => false,
    )
  ) {
    throw new BuildcacheError('install-tree', `${destination} is there already.`, {
      file: destination,
      hint: 'Remove it first.',
    });
  }
  try {
    await mkdir(part, { recursive: true });
    for await (const { entry, content } of items) {
      signal?.throwIfAborted();
      const { name } = entry;
      if (entry.type === 'folder' && (name === at || at.startsWith(`${name}/`))) continue;
      if (!name.startsWith(`${at}/`)) {
        throw new BuildcacheError('tar-path', `The tarball has /${name}, outside of its prefix /${at}.`, {
          file: name,
        });
      }
      await writeEntry(bytesOf(part + name.slice(at.length)), entry, content, (path) =>
        bytesOf(part + path.slice(at.length)),
      );
    }
    await rename(part, destination);
  } catch (error) {
    await rm(part, { recursive: true, force: true });
    throw error;
  }
}

async function writeEntry(
  path: Buffer,
  entry: TarItem['entry'],
  content: TarItem['content'],
  place: (name: string) => Buffer,
): Promise<void> {
  switch (entry.type) {
    case 'folder':
      mkdirSync(path, { recursive: true, mode: 0o755 });
      return;
    case 'symlink':
      symlinkSync(bytesOf(entry.target!), path);
      lutimesSync(path, 0, 0);
      return;
    case 'hardlink':
      linkSync(place(entry.target!), path);
      return;
    case 'file': {
      if (entry.size <= writtenAtOnce) return writeAtOnce(path, entry.mode, await collect(content));
      // Exclusive: never through something that is there already.
      const file = await open(path, 'wx', entry.mode);
      const out = createWriteStream('', { fd: file, highWaterMark: 1 << 20 });
      await pipeline(Readable.from(content as AsyncIterable<Buffer>, { objectMode: true }), out);
      await lutimes(path, 0, 0);
    }
  }
}

function writeAtOnce(path: Buffer, mode: number, bytes: Buffer): void {
  // Exclusive: never through something that is there already.
  const file = openSync(path, 'wx', mode);
  try {
    for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at);
    futimesSync(file, 0, 0);
  } finally {
    closeSync(file);
  }
}

function checkName(raw: string, refuse: (code: BuildcacheErrorCode, why: string) => never): string {
  const name = raw.replace(/^(\.\/)+/, '').replace(/\/+$/, '');
  if (raw.startsWith('/')) refuse('tar-path', `has the absolute path ${JSON.stringify(raw)}`);
  if (name === '' || name === '.' || name.includes('\0'))
    refuse('tar-path', `has the empty path ${JSON.stringify(raw)}`);
  if (name.split('/').some((part) => part === '..' || part === '' || part === '.'))
    refuse('tar-path', `has the path ${JSON.stringify(raw)}, which leaves its place`);
  return name;
}

function typeOf(
  header: Header,
  refuse: (code: BuildcacheErrorCode, why: string) => never,
): TarItem['entry']['type'] {
  switch (header.type) {
    case 'file':
    case 'contiguous-file':
      return 'file';
    case 'directory':
      return 'folder';
    case 'symlink':
      return 'symlink';
    case 'link':
      return 'hardlink';
    default:
      return refuse('tar-type', `has ${header.name}, a ${header.type ?? 'thing of unknown kind'}`);
  }
}

/** The bytes of content. A size that cannot be read would leave the reader waiting for ever for the content's end. */
function sizeOf(
  { size }: Header,
  name: string,
  type: TarItem['entry']['type'],
  refuse: (code: BuildcacheErrorCode, why: string) => never,
): number {
  if (size === undefined || !Number.isSafeInteger(size) || size < 0)
    return refuse('tarball', `is broken: the header of ${name} has no valid size`);
  if (type === 'file') return size;
  return size === 0 ? 0 : refuse('tarball', `is broken: ${name} is a ${type} with content`);
}

/** OCI image spec 1.1, layer: whiteouts; POSIX.1-2001 and star: extended attributes in pax records. */
function checkForLayer(
  header: Header,
  name: string,
  refuse: (code: BuildcacheErrorCode, why: string) => never,
): void {
  if (header.mode && header.mode & 0o7000)
    refuse('tar-type', `has ${name} with the mode ${header.mode.toString(8)}`);
  if (header.uid || header.gid) refuse('tar-type', `has ${name}, which belongs to another user than root`);
  if (name.split('/').some((part) => part.startsWith('.wh.')))
    refuse('tar-path', `has ${name}, which would hide a file of the image below`);
  const attribute = Object.keys(header.pax ?? {}).find((key) => /xattr|acl|selinux/i.test(key));
  if (attribute) refuse('tar-type', `has ${name} with the attribute ${attribute}`);
}

function checkParents(
  name: string,
  kinds: ReadonlyMap<string, string>,
  refuse: (code: BuildcacheErrorCode, why: string) => never,
): void {
  for (let cut = name.lastIndexOf('/'); cut > 0; cut = name.lastIndexOf('/', cut - 1)) {
    const kind = kinds.get(name.slice(0, cut));
    if (kind !== undefined && kind !== 'folder')
      refuse('tar-path', `puts ${name} below ${name.slice(0, cut)}, a ${kind}`);
    // Folders above one that was checked were checked with it.
    if (kind === 'folder') return;
  }
}

function* parentsOf(path: string): Generator<TarItem> {
  const parts = path.split('/').slice(1, -1);
  for (let count = 1; count <= parts.length; count++) {
    yield {
      entry: { name: parts.slice(0, count).join('/'), type: 'folder', mode: 0o755, size: 0 },
      content: [],
    };
  }
}

async function collect(content: AsyncIterable<Buffer> | Iterable<Buffer>): Promise<Buffer> {
  if (Array.isArray(content) && content.length === 1 && Buffer.isBuffer(content[0])) return content[0];
  const chunks: Buffer[] = [];
  for await (const chunk of content) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** The first bytes of a content, and all of it. */
async function peek(
  content: AsyncIterable<Buffer> | Iterable<Buffer>,
  count: number,
): Promise<{ head: Buffer; rest: AsyncIterable<Buffer> }> {
  const iterator =
    Symbol.asyncIterator in content ? content[Symbol.asyncIterator]() : content[Symbol.iterator]();
  let head: Buffer = Buffer.alloc(0);
  let ended = false;
  while (head.length < count && !ended) {
    const next = await iterator.next();
    if (next.done) ended = true;
    else head = Buffer.concat([head, next.value]);
  }
  const rest = async function* () {
    if (head.length > 0) yield head;
    for (
      let next = ended ? undefined : await iterator.next();
      next && !next.done;
      next = await iterator.next()
    )
      yield next.value;
  };
  return { head, rest: rest() };
}
