import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import type { Digest } from '@stackwright/oci';
import type { SpecNode } from './spec-nodes.js';

const blockSize = 1 << 20;

/**
 * A temporary file in blocks. What was written a moment ago is read faster than another thread is asked for it; others
 * have their turn after each block.
 */
export async function* readBlocks(path: string): AsyncGenerator<Buffer> {
  const file = openSync(path, 'r');
  try {
    for (;;) {
      const block = Buffer.allocUnsafeSlow(blockSize);
      const count = readSync(file, block);
      if (count === 0) return;
      yield block.subarray(0, count);
      await turn();
    }
  } finally {
    closeSync(file);
  }
}

/** JSON of new nodes, in a temporary file; in memory only where each stands and what it depends on. */
export class Spool {
  readonly #nodes = new Map<
    string,
    { readonly hash: string; readonly offset: number; readonly length: number; readonly edges: string[] }
  >();
  readonly #packages = new Set<string>();
  readonly #newer = new Set<string>();
  #file: number | undefined;
  #waiting: Buffer[] = [];
  #size = 0;
  #written = 0;

  constructor(private readonly path: string) {}

  /** What a node depends on; undefined for one that is not here. */
  edges(hash: string): readonly string[] | undefined {
    return this.#nodes.get(hash)?.edges;
  }

  /** Whether a node's own package was added, not only one that depends on it. */
  isPackage(hash: string): boolean {
    return this.#packages.has(hash);
  }

  packages(): Iterable<string> {
    return this.#packages;
  }

  /** Whether a package's spec is of a version that only newer Spacks read. */
  isNewer(hash: string): boolean {
    return this.#newer.has(hash);
  }

  get hasNewer(): boolean {
    return this.#newer.size > 0;
  }

  /**
   * Takes a package's nodes, those that are not here yet.
   * @param newer whether the spec is of a version that only newer Spacks read
   */
  add(hash: string, nodes: readonly SpecNode[], newer = false): void {
    for (const node of nodes) {
      if (this.#nodes.has(node.hash)) continue;
      const bytes = Buffer.from(node.text, 'utf8');
      // Very many depend on the same few: the text of a hash is kept once.
      const edges = node.edges.map((edge) => this.#nodes.get(edge)?.hash ?? edge);
      this.#nodes.set(node.hash, { hash: node.hash, offset: this.#size, length: bytes.length, edges });
      this.#waiting.push(bytes);
      this.#size += bytes.length;
      if (this.#size - this.#written >= blockSize) this.#flush();
    }
    this.#packages.add(hash);
    if (newer) this.#newer.add(hash);
  }

  /** The JSON of nodes that are wanted, in the order in which they came. */
  *texts(wanted: ReadonlySet<string>): Generator<{ hash: string; text: Buffer }> {
    this.#flush();
    let block = Buffer.alloc(0);
    let from = 0;
    for (const [hash, { offset, length }] of this.#nodes) {
      if (!wanted.has(hash)) continue;
      if (offset < from || offset + length > from + block.length) {
        block = Buffer.allocUnsafe(Math.max(length, Math.min(blockSize, this.#size - offset)));
        for (let at = 0; at < block.length; ) {
          at += readSync(this.#file!, block, at, block.length - at, offset + at);
        }
        from = offset;
      }
      yield { hash, text: block.subarray(offset - from, offset - from + length) };
    }
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
  }

  #flush(): void {
    if (this.#waiting.length === 0) return;
    this.#file ??= openSync(this.path, 'wx+');
    writeAll(this.#file, Buffer.concat(this.#waiting));
    this.#written = this.#size;
    this.#waiting = [];
  }
}

/** A new file that knows its sha256 and length. */
export class HashedFile {
  readonly #hash = createHash('sha256');
  readonly #file: number;
  #waiting: Buffer[] = [];
  #length = 0;
  #size = 0;

  constructor(path: string) {
    this.#file = openSync(path, 'w');
  }

  /** Takes bytes that nobody changes any more. */
  write(bytes: Buffer): void {
    this.#waiting.push(bytes);
    this.#length += bytes.length;
    if (this.#length >= blockSize) this.#flush();
  }

  finish(): { readonly digest: Digest; readonly size: number } {
    this.#flush();
    return { digest: `sha256:${this.#hash.digest('hex')}`, size: this.#size };
  }

  close(): void {
    closeSync(this.#file);
  }

  #flush(): void {
    const bytes = this.#waiting.length === 1 ? this.#waiting[0]! : Buffer.concat(this.#waiting, this.#length);
    this.#waiting = [];
    this.#length = 0;
    this.#hash.update(bytes);
    this.#size += bytes.length;
    writeAll(this.#file, bytes);
  }
}

function writeAll(file: number, bytes: Buffer): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at);
}
