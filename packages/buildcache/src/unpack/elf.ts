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

/** The libraries that an ELF file asks for, and what it is itself called. */
export interface ElfLibraries {
  /** PT_INTERP: the dynamic loader of a program. */
  readonly interpreter: string | undefined;
  /** DT_NEEDED. */
  readonly needed: readonly string[];
  /** DT_SONAME: the name under which other files ask for this library. */
  readonly soname: string | undefined;
}

/** A file's bytes, in memory or not. `slice` gives fewer bytes where the file ends. */
export interface ByteSource {
  readonly length: number;
  slice(start: number, end: number): Buffer;
}

/** Bytes of a table, and of a string, up to which a file is believed. */
const tableLimit = 16 * 1024 * 1024;

const programTypes = { load: 1, dynamic: 2, interpreter: 3 } as const;
const tags = { end: 0, needed: 1, stringTable: 5, soname: 14, rpath: 15, runpath: 29 } as const;

/**
 * Finds interpreter, RPATH and RUNPATH of an executable or shared library (System V ABI, chapter 5), 32 and 64 bit,
 * either byte order. Undefined for everything else, and for files whose tables point outside of them.
 */
export function elfPaths(file: Buffer | ByteSource): ElfPaths | undefined {
  return orUndefined(() => {
    const source = sourceOf(file);
    const tables = readTables(source);
    return tables && pathsOf(source, tables);
  });
}

/** The libraries of an executable or shared library; undefined as for `elfPaths`. */
export function elfLibraries(file: Buffer | ByteSource): ElfLibraries | undefined {
  return orUndefined(() => {
    const source = sourceOf(file);
    const tables = readTables(source);
    return tables && librariesOf(source, tables);
  });
}

/** Where the dynamic section lies in the file, from the head of it: what has to be kept of a file that passes by. */
export function dynamicSection(head: Buffer): { readonly offset: number; readonly size: number } | undefined {
  return orUndefined(() => {
    const dynamic = readPrograms(sourceOf(head))?.programs.find((one) => one.type === programTypes.dynamic);
    return dynamic && { offset: dynamic.offset, size: dynamic.fileSize };
  });
}

function sourceOf(file: Buffer | ByteSource): ByteSource {
  return Buffer.isBuffer(file) ? { length: file.length, slice: file.subarray.bind(file) } : file;
}

/** What a table outside of the file ends. */
function orUndefined<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

interface Program {
  readonly type: number;
  readonly offset: number;
  readonly address: number;
  readonly fileSize: number;
}

/** The parts of an ELF file that say what it needs to run. */
interface Tables {
  readonly programs: readonly Program[];
  /** Tag and value of each entry of the dynamic section. */
  readonly dynamic: readonly (readonly [tag: number, value: number])[];
  /** Where the dynamic strings start in the file. */
  readonly strings: number | undefined;
}

function readPrograms(file: ByteSource) {
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

  return { programs, word, step: wide ? 16 : 8 };
}

function readTables(file: ByteSource): Tables | undefined {
  const read = readPrograms(file);
  if (!read) return undefined;
  const { programs, word, step } = read;
  const section = programs.find((one) => one.type === programTypes.dynamic);
  const dynamic: [number, number][] = [];
  if (section) {
    const entries = slice(file, section.offset, section.fileSize);
    for (let at = 0; at + step <= entries.length; at += step) {
      const tag = word(entries, at);
      if (tag === tags.end) break;
      dynamic.push([tag, word(entries, at + step / 2)]);
    }
  }
  const address = dynamic.findLast(([tag]) => tag === tags.stringTable)?.[1];
  const segment =
    address === undefined
      ? undefined
      : programs.find(
          (one) =>
            one.type === programTypes.load && address >= one.address && address < one.address + one.fileSize,
        );
  const strings = segment && address !== undefined ? address - segment.address + segment.offset : undefined;
  return { programs, dynamic, strings };
}

function pathsOf(file: ByteSource, { programs, dynamic, strings }: Tables): ElfPaths {
  const interpreter = programs.find((one) => one.type === programTypes.interpreter);
  const found = dynamic
    .filter(([tag]) => tag === tags.rpath || tag === tags.runpath)
    .map(([, value]) => value);
  return {
    interpreter: interpreter ? stringAt(file, interpreter.offset) : undefined,
    searchPaths:
      strings === undefined ? [] : [...new Set(found)].map((offset) => stringAt(file, strings + offset)),
  };
}

function librariesOf(file: ByteSource, { programs, dynamic, strings }: Tables): ElfLibraries {
  const interpreter = programs.find((one) => one.type === programTypes.interpreter);
  const named = (wanted: number) =>
    strings === undefined
      ? []
      : dynamic
          .filter(([tag]) => tag === wanted)
          .map(([, offset]) => stringAt(file, strings + offset).value.toString('latin1'));
  return {
    interpreter: interpreter && stringAt(file, interpreter.offset).value.toString('latin1'),
    needed: named(tags.needed),
    soname: named(tags.soname)[0],
  };
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
