import { isAscii, isUtf8 } from 'node:buffer';

export type FileKind = 'binary' | 'text' | 'other';

/** Whether a file starts as an ELF or Mach-O file does. Java class files share a Mach-O magic but not its next word. */
export function isExecutableFormat(magic: Buffer): boolean {
  if (magic.length < 4) return false;
  const word = magic.readUInt32BE(0);
  if (word === 0x7f454c46) return true;
  if (word === 0xcffaedfe || word === 0xfeedfacf || word === 0xcefaedfe || word === 0xfeedface) return true;
  if (magic.length < 8) return false;
  return (
    (word === 0xcafebabe && magic.readUInt32BE(4) < 10) || (word === 0xbebafeca && magic.readUInt32LE(4) < 10)
  );
}

/**
 * Tells text from binary as Spack does when it decides what to relocate: ELF and Mach-O by their magic; else UTF-8, or
 * Latin-1 without control characters, is text. Files under 8 bytes are neither. Takes the content in chunks.
 */
export class FileClassifier {
  #head = Buffer.alloc(0);
  #size = 0;
  #rest = Buffer.alloc(0);
  #utf8 = true;
  #latin1 = true;

  /** Returns false once more content cannot change the answer. */
  update(chunk: Buffer): boolean {
    if (this.#head.length < 8)
      this.#head = Buffer.concat([this.#head, chunk.subarray(0, 8 - this.#head.length)]);
    this.#size += chunk.length;
    if (this.#head.length === 8 && isExecutableFormat(this.#head)) return false;
    if (this.#latin1 && hasControl(chunk)) this.#latin1 = false;
    if (this.#utf8) {
      const all = this.#rest.length > 0 ? Buffer.concat([this.#rest, chunk]) : chunk;
      const cut = completeUtf8(all);
      this.#utf8 = isUtf8(all.subarray(0, cut));
      this.#rest = Buffer.from(all.subarray(cut));
    }
    return this.#utf8 || this.#latin1;
  }

  finish(): FileKind {
    if (this.#size < 8) return 'other';
    if (isExecutableFormat(this.#head)) return 'binary';
    return (this.#utf8 && this.#rest.length === 0) || this.#latin1 ? 'text' : 'other';
  }
}

/** The kind of a file whose whole content is at hand. */
export function fileKind(content: Buffer): FileKind {
  if (content.length < 8) return 'other';
  if (isExecutableFormat(content)) return 'binary';
  if (isAscii(content) || isUtf8(content)) return 'text';
  return hasControl(content) ? 'other' : 'text';
}

function hasControl(chunk: Buffer): boolean {
  for (let at = 0; at < chunk.length; at++) {
    const byte = chunk[at]!;
    if (byte === 0 || (byte >= 0x7f && byte <= 0x9f)) return true;
  }
  return false;
}

/** How many bytes end on a whole character: a character of up to 4 bytes may be cut by the chunk's end. */
function completeUtf8(bytes: Buffer): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back]!;
    if (byte < 0x80) return bytes.length;
    if (byte >= 0xc0) {
      const needed = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
      return needed > back ? bytes.length - back : bytes.length;
    }
  }
  return bytes.length;
}

/**
 * Finds install prefixes in content. A prefix counts where it starts a path: not right after a slash, nor after a word
 * that follows one, so that `-L/prefix` counts and `/other/prefix` does not.
 */
export class PrefixSearch {
  readonly #needles: readonly Buffer[];

  constructor(prefixes: Iterable<string>) {
    const all = [...new Set(prefixes)].filter((prefix) => prefix !== '');
    // A path that starts with a longer prefix starts with the shorter one too: only the shortest need be looked for.
    this.#needles = all
      .filter((one) => !all.some((other) => other !== one && one.startsWith(other)))
      .map((one) => Buffer.from(one, 'utf8'));
  }

  /** The longest needle's length: how much two chunks must overlap. */
  get overlap(): number {
    return Math.max(0, ...this.#needles.map((needle) => needle.length)) + 4096;
  }

  found(content: Buffer): boolean {
    return this.#needles.some((needle) => {
      for (let at = content.indexOf(needle); at >= 0; at = content.indexOf(needle, at + 1)) {
        if (startsPath(content, at)) return true;
      }
      return false;
    });
  }

  /** Whether a link's absolute target starts with one of the prefixes. */
  leads(target: string): boolean {
    const bytes = Buffer.from(target, 'utf8');
    return this.#needles.some((needle) => bytes.subarray(0, needle.length).equals(needle));
  }
}

/** Whether a path may start at `at`: what stands before, past any word, is no slash. */
export function startsPath(content: Buffer, at: number): boolean {
  let before = at - 1;
  while (before >= 0 && isWord(content[before]!)) before--;
  return before < 0 || content[before] !== 0x2f;
}

/** `[A-Za-z0-9_-]` */
export function isWord(byte: number): boolean {
  return (
    (byte >= 0x61 && byte <= 0x7a) ||
    (byte >= 0x41 && byte <= 0x5a) ||
    (byte >= 0x30 && byte <= 0x39) ||
    byte === 0x5f ||
    byte === 0x2d
  );
}
