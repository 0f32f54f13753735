import { BuildcacheError } from '../error.js';
import type { BuildInfo } from '../pack/buildinfo.js';
import { isWord, startsPath } from '../pack/scan.js';
import { type ByteSource, elfPaths } from './elf.js';

/** Where things are after a relocation. */
export interface NewPlaces {
  /** The new install tree's root. */
  readonly root: string;
  /** `ROOT/bin/sbang` when left out. */
  readonly sbangPath?: string;
  /** New prefixes by dag hash; what is not there keeps its place below the root. */
  readonly prefixes?: ReadonlyMap<string, string>;
}

/**
 * Bytes at a C string's end that stay where they are: linkers let strings share their tails, so that another string may
 * begin within these. Spack's number.
 */
const sharedTail = 7;

/**
 * Replaces install prefixes in file contents, as Spack does when it installs from a build cache, and in the same cases.
 * What cannot be done in place is an error that names the file.
 */
export class Relocation {
  readonly #pairs: readonly {
    readonly from: Buffer;
    readonly to: Buffer;
    readonly old: string;
    readonly new: string;
  }[];
  readonly #needles: readonly Buffer[];

  /** @param prefixes old to new; the longest old prefix that matches wins */
  constructor(prefixes: Iterable<readonly [string, string]>) {
    this.#pairs = [...new Map(prefixes)]
      .filter(([from, to]) => from !== to && from !== '')
      .sort(([a], [b]) => Buffer.byteLength(b) - Buffer.byteLength(a))
      .map(([from, to]) => ({ from: Buffer.from(from), to: Buffer.from(to), old: from, new: to }));
    this.#needles = this.#pairs
      .filter(({ old }) => !this.#pairs.some((other) => other.old !== old && old.startsWith(other.old)))
      .map(({ from }) => from);
  }

  /** Whether nothing moves. */
  get isEmpty(): boolean {
    return this.#pairs.length === 0;
  }

  /** A path that starts with an old prefix, at its new place. */
  path(path: string): string {
    const pair = this.#pairs.find(({ old }) => path.startsWith(old));
    return pair ? pair.new + path.slice(pair.old.length) : path;
  }

  /** A link's target: only absolute ones move. */
  link(target: string): string {
    return target.startsWith('/') ? this.path(target) : target;
  }

  /** Text: every path that starts with an old prefix. The length may change. */
  text(content: Buffer): Buffer {
    const parts: Buffer[] = [];
    let done = 0;
    for (let at = this.#next(content, 0); at >= 0; ) {
      const pair = this.#at(content, at);
      if (!pair || !startsPath(content, at)) {
        at = this.#next(content, at + 1);
        continue;
      }
      parts.push(content.subarray(done, at), pair.to);
      done = at + pair.from.length;
      // What follows belongs to this path; another prefix within it is part of its name.
      let end = done;
      while (end < content.length && (isWord(content[end]!) || content[end] === 0x2f)) end++;
      at = this.#next(content, Math.max(end, at + 1));
    }
    return done === 0 ? content : Buffer.concat([...parts, content.subarray(done)]);
  }

  /**
   * A binary: interpreter, RPATH and RUNPATH, then C strings, all in place.
   * @returns a changed copy, or `content` itself
   * @throws BuildcacheError `relocation` where the new path does not fit
   */
  binary(content: Buffer, file: string): Buffer {
    if (this.#next(content, 0) < 0) return content;
    const copy = Buffer.from(content);
    for (const { offset, bytes } of this.elfEdits(copy, file)) bytes.copy(copy, offset);
    this.strings(copy, file, true);
    return copy;
  }

  /**
   * What becomes of an ELF file's interpreter, RPATH and RUNPATH: bytes to write over those that are there.
   * @throws BuildcacheError `relocation` where the new path does not fit
   */
  elfEdits(
    content: Buffer | ByteSource,
    file: string,
  ): { readonly offset: number; readonly bytes: Buffer }[] {
    const paths = elfPaths(content);
    if (!paths) return [];
    const edits: { offset: number; bytes: Buffer }[] = [];
    for (const { offset, value } of paths.searchPaths) {
      // Empty elements are padding by tools that wanted room here.
      const old = value
        .toString('latin1')
        .split(':')
        .filter((one) => one !== '');
      const moved = old.map((one) => this.#latin1(one));
      if (moved.some((one, index) => one !== old[index])) {
        edits.push({ offset, bytes: inPlace(value, moved.join(':'), file, 'search path (RPATH)') });
      }
    }
    if (paths.interpreter) {
      const { offset, value } = paths.interpreter;
      const old = value.toString('latin1');
      const moved = this.#latin1(old);
      if (moved !== old) edits.push({ offset, bytes: inPlace(value, moved, file, 'interpreter') });
    }
    return edits;
  }

  #latin1(path: string): string {
    const pair = this.#pairs.find(({ from }) => path.startsWith(from.toString('latin1')));
    return pair ? pair.to.toString('latin1') + path.slice(pair.from.length) : path;
  }

  /**
   * Replaces in the C strings of a part of a binary.
   * @param content changed in place
   * @param last whether the file ends with this part; else what stands near its end is left for the next part
   * @returns how many bytes are done; the next part begins with the others
   * @throws BuildcacheError `relocation` where the new path does not fit
   */
  strings(content: Buffer, file: string, last: boolean): number {
    // A match, and what is looked at behind it, must lie within this part whole.
    const end = last ? content.length : content.length - this.#longest - sharedTail - 1;
    let done = 0;
    for (let at = this.#next(content, 0); at >= 0 && at < end; ) {
      const pair = this.#at(content, at);
      if (!pair) {
        at = this.#next(content, at + 1);
        continue;
      }
      const { from, to } = pair;
      const shorter = from.length - to.length;
      if (shorter < 0) {
        throw new BuildcacheError(
          'relocation',
          `${file}: ${pair.new} is longer than ${pair.old}, and a string in a binary cannot grow.`,
          { file, hint: longer },
        );
      }
      const after = at + from.length;
      const zero = content.subarray(after, after + sharedTail + 1).indexOf(0);
      const ends = zero >= 0;
      const kept = ends ? zero - sharedTail : 0;
      const alike =
        !ends || kept >= 0 || from.subarray(kept).equals(to.subarray(Math.max(0, to.length + kept)));
      if (alike) {
        // Slashes in front: the end of the string, which others may share, stays where it is.
        content.fill(0x2f, at, at + shorter);
        to.copy(content, at + shorter);
      } else if (shorter > sharedTail) {
        const rest = Buffer.from(content.subarray(after, after + zero + 1));
        to.copy(content, at);
        rest.copy(content, at + to.length);
      } else {
        throw new BuildcacheError(
          'relocation',
          `${file}: ${pair.old} cannot become ${pair.new} in place, its string would lose bytes that others may share.`,
          { file, hint: longer },
        );
      }
      done = ends ? after + zero + 1 : after;
      at = this.#next(content, done);
    }
    return Math.max(done, end, 0);
  }

  /** Bytes of the longest old prefix. */
  get #longest(): number {
    return this.#pairs[0]?.from.length ?? 0;
  }

  /** The first place from `start` on where any old prefix stands. */
  #next(content: Buffer, start: number): number {
    let first = -1;
    for (const needle of this.#needles) {
      const at = content.indexOf(needle, start);
      if (at >= 0 && (first < 0 || at < first)) first = at;
    }
    return first;
  }

  /** The longest old prefix that stands at `at`. */
  #at(content: Buffer, at: number) {
    return this.#pairs.find(({ from }) => content.subarray(at, at + from.length).equals(from));
  }
}

/** @returns as many bytes as the old string has */
function inPlace(old: Buffer, text: string, file: string, what: string): Buffer {
  const bytes = Buffer.alloc(old.length);
  if (text.length > old.length) {
    throw new BuildcacheError(
      'relocation',
      `${file}: its ${what} grows from ${old.length} to ${text.length} bytes, which cannot be done in place.`,
      { file, hint: longer },
    );
  }
  bytes.write(text, 'latin1');
  return bytes;
}

const longer =
  'Install to a root that is not longer, or build with a padded one (config:install_tree:padded_length).';

/** Old prefixes to new ones for a package: sbang, then each dependency's prefix, then the whole tree. */
export function relocationOf(info: BuildInfo, places: NewPlaces): Relocation {
  const pairs: [string, string][] = [];
  for (const [hash, old] of info.prefixes) {
    const moved = places.prefixes?.get(hash);
    if (moved !== undefined) pairs.push([old, moved]);
  }
  pairs.push([info.root, places.root]);
  pairs.push([info.sbangPath, places.sbangPath ?? `${places.root}/bin/sbang`]);
  return new Relocation(pairs);
}

/** Longest first line, with its line break, that every Linux kernel runs. */
const shebangLimit = 127;

/**
 * A script whose first line has become too long for the kernel, with Spack's `sbang` put in front: sbang reads the
 * second line. Languages to whom `#` is no comment get one of theirs.
 */
export function withSbang(content: Buffer, sbangPath: string): Buffer {
  if (content.length < 2 || content[0] !== 0x23 || content[1] !== 0x21) return content;
  const end = content.subarray(0, 4096).indexOf(0x0a);
  const length = end < 0 ? Math.min(content.length, 4096) : end + 1;
  if (length <= shebangLimit || (end < 0 && content.length >= 4096)) return content;
  const sbang = Buffer.from(`#!/bin/sh ${sbangPath}\n`);
  if (content.subarray(0, sbang.length).equals(sbang)) return content;
  const line = content.toString('latin1', 0, length);
  const interpreter = /^#![ \t]*([^ \t\0\n]+)/.exec(line)?.[1] ?? '';
  const second = /\/lua(jit)?$/.test(interpreter)
    ? line.replace(/^#!/, '--!')
    : /\/node$/.test(interpreter)
      ? line.replace(/^#!/, '//!')
      : /\/php$/.test(interpreter)
        ? `<?php ${line} ?>`
        : line;
  return Buffer.concat([sbang, Buffer.from(second, 'latin1'), content.subarray(length)]);
}
