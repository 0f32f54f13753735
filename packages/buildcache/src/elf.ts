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

const programTypes = { load: 1, dynamic: 2, interpreter: 3 } as const;
const tags = { end: 0, stringTable: 5, rpath: 15, runpath: 29, stringTableSize: 10 } as const;

/**
 * Finds interpreter, RPATH and RUNPATH of an executable or shared library (System V ABI, chapter 5), 32 and 64 bit,
 * either byte order. Undefined for everything else, and for files whose tables point outside of them.
 */
export function elfPaths(file: Buffer): ElfPaths | undefined {
  try {
    return read(file);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

function read(file: Buffer): ElfPaths | undefined {
  if (file.length < 52 || file.readUInt32BE(0) !== 0x7f454c46) return undefined;
  const wide = file[4] === 2;
  const little = file[5] === 1;
  if ((file[4] !== 1 && !wide) || (file[5] !== 2 && !little)) return undefined;
  const u16 = (at: number) => (little ? file.readUInt16LE(at) : file.readUInt16BE(at));
  const u32 = (at: number) => (little ? file.readUInt32LE(at) : file.readUInt32BE(at));
  const word = (at: number) =>
    wide ? Number(little ? file.readBigUInt64LE(at) : file.readBigUInt64BE(at)) : u32(at);
  const type = u16(16);
  if (type !== 2 && type !== 3) return undefined;

  const table = word(wide ? 32 : 28);
  const size = u16(wide ? 54 : 42);
  const count = u16(wide ? 56 : 44);
  const programs = Array.from({ length: count }, (_, index) => {
    const at = table + index * size;
    return wide
      ? { type: u32(at), offset: word(at + 8), address: word(at + 16), fileSize: word(at + 32) }
      : { type: u32(at), offset: u32(at + 4), address: u32(at + 8), fileSize: u32(at + 16) };
  });

  const stringAt = (offset: number): CString => {
    const end = file.indexOf(0, offset);
    if (end < 0 || offset >= file.length) throw new RangeError('a string without an end');
    return { offset, value: file.subarray(offset, end) };
  };
  const interpreter = programs.find((one) => one.type === programTypes.interpreter);
  const dynamic = programs.find((one) => one.type === programTypes.dynamic);
  const searchPaths: CString[] = [];
  if (dynamic) {
    const step = wide ? 16 : 8;
    const found: number[] = [];
    let strings: number | undefined;
    for (let at = dynamic.offset; at + step <= dynamic.offset + dynamic.fileSize; at += step) {
      const tag = word(at);
      if (tag === tags.end) break;
      if (tag === tags.stringTable) strings = word(at + step / 2);
      if (tag === tags.rpath || tag === tags.runpath) found.push(word(at + step / 2));
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
      for (const offset of new Set(found)) searchPaths.push(stringAt(base + offset));
    }
  }
  return { interpreter: interpreter ? stringAt(interpreter.offset) : undefined, searchPaths };
}
