import { BuildcacheError } from '../error.js';
import { bytesOf, hasRawBytes } from './name.js';

/** An entry's header, in the terms of Spack's archives: owner 0, time 0, modes 644 and 755. */
export interface TarEntry {
  /** Path without a leading slash; a folder's without a trailing one. */
  readonly name: string;
  readonly type: 'file' | 'folder' | 'symlink' | 'hardlink';
  readonly mode: number;
  /** Bytes of a file's content; 0 for others. */
  readonly size: number;
  readonly target?: string;
}

/** An entry with its content, as packing and relocating hand them on. */
export interface TarItem {
  readonly entry: TarEntry;
  /** Exactly `entry.size` bytes. */
  readonly content: AsyncIterable<Buffer> | Iterable<Buffer>;
}

const blockSize = 512;
/** Archives end at a multiple of this (20 blocks), as Python writes them. */
const recordSize = 20 * blockSize;
const typeFlags = { file: '0', folder: '5', symlink: '2', hardlink: '1' } as const;

/** An entry's header blocks: ustar, preceded by a pax record where a name is long or not ASCII (POSIX.1-2001). */
export function tarHeader(entry: TarEntry): Buffer {
  const name = entry.type === 'folder' ? `${entry.name}/` : entry.name;
  const target = entry.target ?? '';
  const records: [string, string][] = [];
  if (needsPax(name)) records.push(['path', name]);
  if (needsPax(target)) records.push(['linkpath', target]);
  let size = entry.size;
  if (size >= 8 ** 11) {
    records.push(['size', String(size)]);
    size = 0;
  }
  const main = block(name, entry.mode, size, typeFlags[entry.type], target);
  if (records.length === 0) return main;
  const payload = paxPayload(records);
  return Buffer.concat([block('././@PaxHeader', 0, payload.length, 'x', ''), pad(payload), main]);
}

/** Zeros that fill a content of `size` bytes up to the next block. */
export function tarPadding(size: number): Buffer {
  return Buffer.alloc((blockSize - (size % blockSize)) % blockSize);
}

/** The end of an archive whose entries take `size` bytes: two empty blocks, filled up to a record. */
export function tarEnd(size: number): Buffer {
  const end = size + 2 * blockSize;
  return Buffer.alloc(2 * blockSize + ((recordSize - (end % recordSize)) % recordSize));
}

/** Entries as an archive's bytes. */
export async function* tarBytes(items: AsyncIterable<TarItem> | Iterable<TarItem>): AsyncGenerator<Buffer> {
  let total = 0;
  for await (const { entry, content } of items) {
    const header = tarHeader(entry);
    yield header;
    let size = 0;
    for await (const chunk of content) {
      size += chunk.length;
      yield chunk;
    }
    if (size !== entry.size) {
      throw new BuildcacheError('tree-changed', `/${entry.name} changed while it was packed.`, {
        file: entry.name,
        hint: 'Pack again once nothing writes to the prefix.',
      });
    }
    const padding = tarPadding(entry.size);
    if (padding.length > 0) yield padding;
    total += header.length + entry.size + padding.length;
  }
  yield tarEnd(total);
}

const isAscii = (text: string) => /^[\0-\x7f]*$/.test(text);

function needsPax(text: string): boolean {
  return text.length > 100 || !isAscii(text);
}

function block(name: string, mode: number, size: number, type: string, target: string): Buffer {
  const bytes = Buffer.alloc(blockSize);
  bytes.write(ascii(name).slice(0, 100), 0, 'latin1');
  bytes.write(octal(mode, 7), 100, 'latin1');
  bytes.write(octal(0, 7), 108, 'latin1');
  bytes.write(octal(0, 7), 116, 'latin1');
  bytes.write(octal(size, 11), 124, 'latin1');
  bytes.write(octal(0, 11), 136, 'latin1');
  bytes.write('        ', 148, 'latin1');
  bytes.write(type, 156, 'latin1');
  bytes.write(ascii(target).slice(0, 100), 157, 'latin1');
  bytes.write('ustar\x0000', 257, 'latin1');
  let sum = 0;
  for (const byte of bytes) sum += byte;
  bytes.write(`${octal(sum, 6)}\0`, 148, 'latin1');
  return bytes;
}

function octal(value: number, digits: number): string {
  return value.toString(8).padStart(digits, '0');
}

/** The nearest ASCII, for readers that know no pax records. */
function ascii(text: string): string {
  if (isAscii(text)) return text;
  return [...text].map((char) => (char.codePointAt(0)! < 128 ? char : '?')).join('');
}

function paxPayload(records: readonly [string, string][]): Buffer {
  const raw = records.some(([, value]) => hasRawBytes(value));
  const lines = records.map(([keyword, value]) => paxRecord(keyword, bytesOf(value)));
  if (raw) lines.unshift(Buffer.from('21 hdrcharset=BINARY\n'));
  return Buffer.concat(lines);
}

/** `LENGTH KEYWORD=VALUE\n`, where the length counts its own digits. */
function paxRecord(keyword: string, value: Buffer): Buffer {
  const rest = Buffer.concat([Buffer.from(` ${keyword}=`), value, Buffer.from('\n')]);
  let length = rest.length;
  while (length !== rest.length + String(length).length) length = rest.length + String(length).length;
  return Buffer.concat([Buffer.from(String(length)), rest]);
}

function pad(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, tarPadding(bytes.length)]);
}
