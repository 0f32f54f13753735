import { dirname } from 'node:path';
import type { TarItem } from '../pack/tar.js';
import { type ByteSource, dynamicSection, elfLibraries } from './elf.js';

/** What the ELF files of a package ask for and offer. Each list is sorted, without repetitions. */
export interface PackageLibraries {
  /** Dynamic loaders of its programs. */
  readonly interpreters: readonly string[];
  /** Names of libraries that its files ask for (DT_NEEDED). */
  readonly needed: readonly string[];
  /** Names of libraries that it has: DT_SONAME, and the name of the file for a library without one. */
  readonly provided: readonly string[];
}

/** Bytes of a file that are kept while it passes by. The tables of nearly all files lie there. */
const keptHead = 32 * 1024 * 1024;
const magic = Buffer.from('\x7fELF', 'latin1');

/** Reads the tables of ELF files while a package's files pass by. Files whose tables cannot be found are left out. */
export class ElfScan {
  readonly #interpreters = new Set<string>();
  readonly #needed = new Set<string>();
  readonly #provided = new Set<string>();

  /** A file's content as it is, looked at on its way. */
  watch({ entry, content }: TarItem): TarItem['content'] {
    if (entry.type !== 'file' || entry.size < 64 || isBelow(entry.name, '.spack')) return content;
    const [only] = Array.isArray(content) ? (content as Buffer[]) : [];
    if (only?.length === entry.size) {
      if (isElf(only)) this.#see(entry.name, only);
      return content;
    }
    return this.#streamed(entry.name, entry.size, content);
  }

  result(): PackageLibraries {
    return {
      interpreters: [...this.#interpreters].sort(),
      needed: [...this.#needed].sort(),
      provided: [...this.#provided].sort(),
    };
  }

  async *#streamed(name: string, size: number, content: TarItem['content']): AsyncGenerator<Buffer> {
    let kept: KeptParts | undefined;
    let first = true;
    for await (const chunk of content) {
      // A chunk that is the whole file need not be copied; of the next ones the first says whether they count.
      if (first && chunk.length === size) {
        if (isElf(chunk)) this.#see(name, chunk);
      } else if (first && isElf(chunk)) kept = new KeptParts(size);
      first = false;
      kept?.take(chunk);
      yield chunk;
    }
    if (kept) this.#see(name, kept);
  }

  #see(name: string, file: Buffer | ByteSource): void {
    const found = elfLibraries(file);
    if (!found) return;
    if (found.interpreter !== undefined) this.#interpreters.add(found.interpreter);
    for (const one of found.needed) this.#needed.add(one);
    const base = name.slice(dirname(name).length + 1);
    if (found.soname !== undefined) this.#provided.add(found.soname);
    else if (found.interpreter === undefined && /\.so(\.|$)/.test(base)) this.#provided.add(base);
  }
}

/** The head of a file and its dynamic section, of a file that is too large to be held. */
class KeptParts implements ByteSource {
  readonly #head: Buffer[] = [];
  #joined: Buffer | undefined;
  #section: { readonly offset: number; readonly bytes: Buffer } | undefined;
  #at = 0;

  constructor(readonly length: number) {}

  /** Takes the next bytes; they may be overwritten afterwards. */
  take(chunk: Buffer): void {
    if (this.#at < keptHead) this.#head.push(Buffer.from(chunk));
    else this.#takeSection(chunk);
    this.#at += chunk.length;
  }

  slice(start: number, end: number): Buffer {
    const head = this.#joinedHead();
    if (end <= head.length || this.#at <= head.length) return head.subarray(start, end);
    const section = this.#section;
    if (!section || start < section.offset || end > section.offset + section.bytes.length)
      return Buffer.alloc(0);
    return section.bytes.subarray(start - section.offset, end - section.offset);
  }

  #joinedHead(): Buffer {
    this.#joined ??= Buffer.concat(this.#head);
    return this.#joined;
  }

  #takeSection(chunk: Buffer): void {
    if (!this.#section) {
      const { offset, size } = dynamicSection(this.#joinedHead()) ?? { offset: 0, size: 0 };
      this.#section = { offset, bytes: Buffer.alloc(Math.min(size, keptHead)) };
      // It may start in the head.
      if (offset < this.#joinedHead().length) this.#joinedHead().copy(this.#section.bytes, 0, offset);
    }
    const { offset, bytes } = this.#section;
    const from = Math.max(offset, this.#at);
    const to = Math.min(offset + bytes.length, this.#at + chunk.length);
    if (from < to) chunk.copy(bytes, from - offset, from - this.#at, to - this.#at);
  }
}

function isElf(bytes: Buffer): boolean {
  return bytes.subarray(0, 4).equals(magic);
}

function isBelow(name: string, folder: string): boolean {
  return name.includes(`/${folder}/`);
}
