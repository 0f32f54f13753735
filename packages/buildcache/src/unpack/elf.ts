/** A C string in a file: where it starts and what it says, without its terminating zero. */
interface CString {
  readonly offset: number;
  readonly value: Buffer;
}

/** The strings by which an ELF file finds its interpreter and its libraries. */
export interface ElfPaths {
  readonly interpreter: CString | undefined;
  /** DT_RPATH and DT_RUNPATH; a file has one of them or none, rarely both. */
  readonly searchPaths: readonly CString[];
}

/** A file's bytes, in memory or not. `slice` gives fewer bytes where the file ends. */
export interface ByteSource {
  readonly length: number;
  slice(start: number, end: number): Buffer;
}

/** Bytes of a table, and of a string, up to which a file is believed. */
const tableLimit = 16 * 1024 * 1024;

const programTypes = { load: 1, dynamic: 2, interpreter: 3 } as const;
const tags = { end: 0, stringTable: 5, rpath: 15, runpath: 29, stringTableSize: 10 } as const;

/**
 * Finds interpreter, RPATH and RUNPATH of an executable or shared library (System V ABI, chapter 5), 32 and 64 bit,
 * either byte order. Undefined for everything else, and for files whose tables point outside of them.
 */
export function elfPaths(file: Buffer | ByteSource): ElfPaths | undefined {
  try {
    return read(Buffer.isBuffer(file) ? { length: file.length, slice: file.subarray.bind(file) } : file);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

function read(file: ByteSource): ElfPaths | undefined {
  const header = file.slice(0, 64);
  if (header.length < 52 || header.readUInt32BE(0) !== 0x7f454c46) return undefined;
  const wide = header[4] === 2;
  const little = header[5] === 1;
  if ((header[4] !== 1 && !wide) || (header[5] !== 2 && !little)) return undefined;
  const u16 = (bytes: Buffer, at: number) => (little ? bytes.readUInt16LE(at) : bytes.readUInt16BE(at));
  const u32 = (bytes: Buffer, at: number) => (little ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at));
  const word = (bytes: Buffer, at: number) =>
    wide ? Number(little ? bytes.readBigUInt64LE(at) : bytes.readBigUInt64BE(at)) : u32(bytes, at);
  const type = u16(header, 16);
  if (type !== 2 && type !== 3) return undefined;

  const size = u16(header, wide ? 54 : 42);
  const count = u16(header, wide ? 56 : 44);
  const table = slice(file, word(header, wide ? 32 : 28), size * count);
  const programs = Array.from({ length: count }, (_, index) => {
    const one = table.subarray(index * size);
    return wide
      ? { type: u32(one, 0), offset: word(one, 8), address: word(one, 16), fileSize: word(one, 32) }
      : { type: u32(one, 0), offset: u32(one, 4), address: u32(one, 8), fileSize: u32(one, 16) };
  });

  const interpreter = programs.find((one) => one.type === programTypes.interpreter);
  const dynamic = programs.find((one) => one.type === programTypes.dynamic);
  const searchPaths: CString[] = [];
  if (dynamic) {
    const step = wide ? 16 : 8;
    const entries = slice(file, dynamic.offset, dynamic.fileSize);
    const found: number[] = [];
    let strings: number | undefined;
    for (let at = 0; at + step <= entries.length; at += step) {
      const tag = word(entries, at);
      if (tag === tags.end) break;
      if (tag === tags.stringTable) strings = word(entries, at + step / 2);
      if (tag === tags.rpath || tag === tags.runpath) found.push(word(entries, at + step / 2));
    }
    const segment =
      strings === undefined
        ? undefined
        : programs.find(
            (one) =>
              one.type === programTypes.load &&
              strings >= one.address &&
              strings < one.address + one.fileSize,
          );
    if (segment && strings !== undefined) {
      const base = strings - segment.address + segment.offset;
      for (const offset of new Set(found)) searchPaths.push(stringAt(file, base + offset));
    }
  }
  return { interpreter: interpreter ? stringAt(file, interpreter.offset) : undefined, searchPaths };
}

/** @throws RangeError when the file has less than that */
function slice(file: ByteSource, offset: number, size: number): Buffer {
  const bytes = size <= tableLimit && offset <= file.length ? file.slice(offset, offset + size) : undefined;
  if (bytes?.length !== size) throw new RangeError('a table outside of the file');
  return bytes;
}

function stringAt(file: ByteSource, offset: number): CString {
  for (let size = 4096; size <= tableLimit && offset < file.length; size *= 4) {
    const bytes = file.slice(offset, offset + size);
    const end = bytes.indexOf(0);
    if (end >= 0) return { offset, value: bytes.subarray(0, end) };
    if (bytes.length < size) break;
  }
  throw new RangeError('a string without an end');
}
