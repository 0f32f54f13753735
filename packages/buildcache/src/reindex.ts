import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream, type WriteStream } from 'node:fs';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { finished, pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ConcreteNode } from '@stackwright/spack-env';
import { isNotFound, isPreconditionFailed } from '@stackwright/storage';
import pLimit from 'p-limit';
import {
  countedEdges,
  databaseEntries,
  databaseFrame,
  entryState,
  formatEntry,
  parseEntry,
  withState,
} from './database.js';
import { BuildcacheError, hasCode } from './error.js';
import { describe, mediaType, type PackageRef, v3 } from './layout.js';
import { formatManifest } from './manifest.js';
import type { Mirror } from './mirror.js';
import { preparePush, record } from './push.js';
import type { SpecDocument } from './spec-document.js';

export interface IndexOptions {
  /** Read every package anew instead of taking over what the current index says. */
  readonly full?: boolean;
  /** Leave out packages that cannot be read, and report them, instead of stopping at the first. */
  readonly skipBroken?: boolean;
  /** Hashes that are to be left out although they are there: they are about to be deleted. */
  readonly exclude?: ReadonlySet<string>;
  /** Packages read at once. */
  readonly parallel?: number;
  /** Age in milliseconds from which on a replaced index blob is deleted at once; 10 minutes when left out. */
  readonly keepReplaced?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number) => void;
}

export interface IndexResult {
  /** Packages in the mirror, and so in the index. */
  readonly packages: number;
  readonly added: number;
  readonly removed: number;
  /** Taken over from the index before. */
  readonly kept: number;
  readonly broken: readonly { readonly package: string; readonly reason: string }[];
  /** `unchanged` when the index said all this already. */
  readonly outcome: 'written' | 'unchanged';
  /** Why the index before was not taken over, when it was not. */
  readonly note?: string;
}

/** A node of the index to come: where its JSON waits, who depends on it, whether its binary is there. */
interface NewNode {
  readonly offset: number;
  readonly length: number;
  readonly edges: readonly string[];
  inBuildcache: boolean;
}

const tries = 30;

/**
 * Brings the mirror's index up to date. Only packages that it lacks are read; entries that stay are copied as bytes.
 * The new index replaces the old one only if nobody else has meanwhile, else all is done again on top of theirs.
 * Memory: some hundred bytes a package; the index itself passes through a temporary file.
 */
export async function updateIndex(mirror: Mirror, options: IndexOptions = {}): Promise<IndexResult> {
  const folder = await mkdtemp(join(tmpdir(), 'stackwright-index-'));
  const news = new Spool(join(folder, 'nodes'));
  try {
    for (let attempt = 1; ; attempt++) {
      const result = await attemptUpdate(mirror, options, folder, news);
      if (result) return result;
      if (attempt === tries) {
        throw new BuildcacheError(
          'failed',
          'conflict',
          `${mirror.url}: others replaced the index ${tries} times meanwhile.`,
          {
            mirror: mirror.url,
            hint: 'Try again when fewer jobs write to it.',
          },
        );
      }
      await sleep(Math.random() * Math.min(2000, 20 * 2 ** attempt), undefined, { signal: options.signal });
    }
  } finally {
    await news.close();
    await rm(folder, { recursive: true, force: true });
  }
}

/** One try; undefined when another writer was quicker. */
async function attemptUpdate(
  mirror: Mirror,
  options: IndexOptions,
  folder: string,
  news: Spool,
): Promise<IndexResult | undefined> {
  const { signal } = options;
  const current = await mirror.indexManifest(signal).catch((error: unknown) => {
    // A broken manifest is replaced, but only that very version of it.
    if (hasCode(error, 'manifest', 'signature-wrong')) return undefined;
    throw error;
  });
  const etag = current?.etag ?? (await mirror.store.head(v3.index, { signal }))?.etag;
  const { file, note } =
    current && !options.full
      ? await fetchIndex(mirror, join(folder, 'current'), signal)
      : { file: undefined, note: undefined };
  const listed = await listPackages(mirror, signal);
  for (const hash of options.exclude ?? []) listed.delete(hash);
  const known = file
    ? await compare(file, listed, mirror.url)
    : { kept: new Set<string>(), gone: [], nodes: new Set<string>() };
  const added = [...listed.values()].filter((ref) => !known.kept.has(ref.hash));
  const broken = await readPackages(mirror, added, news, options);
  if (file && added.length === broken.length && known.gone.length === 0) {
    return {
      packages: known.kept.size,
      added: 0,
      removed: 0,
      kept: known.kept.size,
      broken,
      outcome: 'unchanged',
    };
  }
  const brokenHashes = new Set(broken.map((one) => one.hash));
  const target = join(folder, 'next');
  const written = await writeIndex(target, file, known, news, {
    present: (hash) => listed.has(hash) && !brokenHashes.has(hash),
    where: mirror.url,
  });
  const committed = await commit(mirror, target, written, etag, current?.record.checksum, options);
  if (!committed) return undefined;
  return {
    packages: listed.size - broken.length,
    added: added.length - broken.length,
    removed: known.gone.length,
    kept: known.kept.size,
    broken,
    outcome: 'written',
    ...(note ? { note } : {}),
  };
}

async function fetchIndex(
  mirror: Mirror,
  path: string,
  signal?: AbortSignal,
): Promise<{ file: string | undefined; note: string | undefined }> {
  try {
    await pipeline(await mirror.indexStream(signal), createWriteStream(path), { signal });
    return { file: path, note: undefined };
  } catch (error) {
    // A damaged index is no reason to stop: all that it said can be read from the packages.
    if (hasCode(error, 'checksum', 'length', 'missing-blob', 'missing-index')) {
      return { file: undefined, note: `The index before could not be used: ${error.message}` };
    }
    throw error;
  }
}

async function listPackages(
  mirror: Mirror,
  signal?: AbortSignal,
): Promise<Map<string, PackageRef & { key: string }>> {
  const listed = new Map<string, PackageRef & { key: string }>();
  for await (const { name, version, hash, info } of mirror.packages(signal)) {
    listed.set(hash, { name, version, hash, key: info.key });
  }
  return listed;
}

interface Known {
  /** In the index with a binary, and in the mirror. */
  readonly kept: Set<string>;
  /** In the index with a binary that the mirror no longer has. */
  readonly gone: readonly { readonly hash: string; readonly edges: readonly string[] }[];
  /** Everything the index has, with a binary or not. */
  readonly nodes: Set<string>;
}

async function compare(file: string, listed: ReadonlyMap<string, unknown>, where: string): Promise<Known> {
  const kept = new Set<string>();
  const nodes = new Set<string>();
  const gone: { hash: string; edges: readonly string[] }[] = [];
  for await (const entry of databaseEntries(createReadStream(file, { highWaterMark: 1 << 20 }), where)) {
    nodes.add(entry.hash);
    if (!entryState(entry, where).inBuildcache) continue;
    if (listed.has(entry.hash)) kept.add(entry.hash);
    else gone.push({ hash: entry.hash, edges: countedEdges(parseEntry(entry, where).node) });
  }
  return { kept, gone, nodes };
}

/** Reads what is new into the spool. Returns what could not be read. */
async function readPackages(
  mirror: Mirror,
  refs: readonly (PackageRef & { key: string })[],
  news: Spool,
  options: IndexOptions,
): Promise<{ hash: string; package: string; reason: string }[]> {
  const reader = mirror.withPolicy({ kind: 'unsigned' });
  const limit = pLimit(options.parallel ?? 16);
  const broken: { hash: string; package: string; reason: string }[] = [];
  let done = 0;
  let stopped: unknown;
  await Promise.all(
    refs.map((ref) =>
      limit(async () => {
        if (stopped !== undefined || options.signal?.aborted) return;
        try {
          if (!news.has(ref.hash) || !news.get(ref.hash)!.inBuildcache) {
            const manifest = await reader.manifestAt(ref.key, ref, options.signal);
            news.add(ref.hash, await reader.spec(manifest, options.signal));
          }
        } catch (error) {
          // Deleted since it was listed: then it does not belong into the index.
          if (hasCode(error, 'missing-package') || isNotFound(error) || error instanceof BuildcacheError) {
            broken.push({ hash: ref.hash, package: describe(ref), reason: (error as Error).message });
            if (!options.skipBroken && !hasCode(error, 'missing-package')) stopped ??= error;
          } else stopped ??= error;
        }
        options.onProgress?.(++done, refs.length);
      }),
    ),
  );
  options.signal?.throwIfAborted();
  if (stopped instanceof BuildcacheError) {
    throw new BuildcacheError(
      stopped.kind,
      stopped.code,
      `The index cannot be written, a package is broken. ${stopped.message}`,
      { ...stopped.details, hint: 'To write it without broken packages: --skip-broken' },
      { cause: stopped },
    );
  }
  if (stopped !== undefined) throw stopped;
  return broken;
}

interface Written {
  readonly checksum: string;
  readonly size: number;
}

/** Writes the new index: entries that stay as they are, then the new ones; counters as Spack counts. */
async function writeIndex(
  target: string,
  current: string | undefined,
  known: Known,
  news: Spool,
  options: { readonly present: (hash: string) => boolean; readonly where: string },
): Promise<Written> {
  // How much each node's count of dependents changes.
  const change = new Map<string, number>();
  const bump = (hash: string, by: number) => change.set(hash, (change.get(hash) ?? 0) + by);
  const gone = new Set(known.gone.map((one) => one.hash));
  const fresh = new Set<string>();
  const addNode = (hash: string) => {
    if (known.nodes.has(hash) || fresh.has(hash)) return;
    const node = news.get(hash);
    if (!node) return;
    fresh.add(hash);
    for (const edge of node.edges) {
      bump(edge, 1);
      addNode(edge);
    }
  };
  for (const hash of news.packages()) {
    if (!options.present(hash)) continue;
    addNode(hash);
    // Known so far only as a dependency whose own dependencies the index counts already; or new.
    for (const edge of news.get(hash)!.edges) addNode(edge);
  }
  const dropped =
    current && gone.size > 0 ? await unneeded(current, gone, change, options.where) : new Set<string>();

  await news.flush();
  const out = new HashedFile(target);
  let first = true;
  await out.write(databaseFrame.head);
  if (current) {
    for await (const entry of databaseEntries(
      createReadStream(current, { highWaterMark: 1 << 20 }),
      options.where,
    )) {
      if (dropped.has(entry.hash)) continue;
      const state = entryState(entry, options.where);
      const refCount = state.refCount + (change.get(entry.hash) ?? 0);
      const inBuildcache =
        (known.kept.has(entry.hash) || news.isPackage(entry.hash)) && options.present(entry.hash);
      const same = refCount === state.refCount && inBuildcache === state.inBuildcache;
      await out.write(databaseFrame.key(entry.hash, first));
      // The scanner's buffer is used again: what waits to be written must be a copy.
      await out.write(
        same ? Buffer.from(entry.bytes) : withState(entry, { refCount, inBuildcache }, options.where),
      );
      first = false;
    }
  }
  const spooled = await news.reader();
  try {
    for (const hash of fresh) {
      const node = news.get(hash)!;
      const bytes = await spooled.read(node);
      await out.write(databaseFrame.key(hash, first));
      await out.write(
        formatEntry(bytes, {
          refCount: change.get(hash) ?? 0,
          inBuildcache: news.isPackage(hash) && options.present(hash),
        }),
      );
      first = false;
    }
  } finally {
    await spooled.close();
  }
  await out.write(databaseFrame.end);
  return out.finish();
}

/** Which entries go: removed packages, and what only they needed. Changes the counts of the rest. */
async function unneeded(
  current: string,
  gone: ReadonlySet<string>,
  change: Map<string, number>,
  where: string,
): Promise<Set<string>> {
  // Packages that are gone and dependencies without a binary may go; the rest stays whatever its count.
  const candidates = new Map<string, { refCount: number; edges: readonly string[] }>();
  for await (const entry of databaseEntries(createReadStream(current, { highWaterMark: 1 << 20 }), where)) {
    const state = entryState(entry, where);
    if (state.inBuildcache && !gone.has(entry.hash)) continue;
    candidates.set(entry.hash, {
      refCount: state.refCount,
      edges: countedEdges(parseEntry(entry, where).node),
    });
  }
  const dropped = new Set<string>();
  const queue = [...candidates.keys()];
  for (let hash = queue.pop(); hash !== undefined; hash = queue.pop()) {
    const candidate = candidates.get(hash);
    if (!candidate || dropped.has(hash)) continue;
    if (candidate.refCount + (change.get(hash) ?? 0) > 0) continue;
    dropped.add(hash);
    for (const edge of candidate.edges) {
      change.set(edge, (change.get(edge) ?? 0) - 1);
      queue.push(edge);
    }
  }
  return dropped;
}

/** Blob, then manifest. False when the manifest is no longer the one that was read. */
async function commit(
  mirror: Mirror,
  path: string,
  written: Written,
  etag: string | undefined,
  replaced: string | undefined,
  options: IndexOptions,
): Promise<boolean> {
  const { signal } = options;
  const { store } = mirror;
  const manifest = formatManifest({
    version: 3,
    data: [record(written.size, mediaType.index, 'none', written.checksum)],
  });
  // Always written, even where it is there: a new time keeps others from collecting it as old.
  await store.put(
    v3.blob(written.checksum),
    { size: written.size, open: () => createReadStream(path, { highWaterMark: 1 << 20 }) },
    { contentType: mediaType.index, signal },
  );
  await preparePush(mirror, undefined, signal);
  try {
    await store.put(v3.index, Buffer.from(manifest), {
      contentType: 'application/json',
      precondition: etag ? { match: etag } : { absent: true },
      signal,
    });
  } catch (error) {
    if (isPreconditionFailed(error)) return false;
    throw error;
  }
  if (!store.conditional) {
    // Without conditions two writers can both believe they won. Whoever finds another's manifest does it again.
    await sleep(200 + Math.random() * 300, undefined, { signal });
    const now = await mirror.indexManifest(signal);
    if (now?.record.checksum !== written.checksum) return false;
  }
  // A pruning may have taken the blob for an orphan before the manifest named it.
  if (!(await store.head(v3.blob(written.checksum), { signal }))) return false;
  if (replaced && replaced !== written.checksum) await collect(mirror, replaced, options);
  return true;
}

/** Deletes the blob of the index before, unless it is so young that someone may be about to read it. */
async function collect(mirror: Mirror, checksum: string, options: IndexOptions): Promise<void> {
  const keep = options.keepReplaced ?? 10 * 60_000;
  const key = v3.blob(checksum);
  const found = await mirror.store.head(key, { signal: options.signal });
  if (!found?.modified || Date.now() - found.modified.getTime() < keep) return;
  const now = await mirror.indexManifest(options.signal);
  if (now?.record.checksum !== checksum) await mirror.store.delete([key], { signal: options.signal });
}

/** JSON of new nodes, in a file; in memory only where each stands and what it depends on. */
class Spool {
  readonly #nodes = new Map<string, NewNode>();
  readonly #packages = new Set<string>();
  #out: WriteStream | undefined;
  #offset = 0;

  constructor(private readonly path: string) {}

  has(hash: string): boolean {
    return this.#nodes.has(hash);
  }

  get(hash: string): NewNode | undefined {
    return this.#nodes.get(hash);
  }

  isPackage(hash: string): boolean {
    return this.#packages.has(hash);
  }

  packages(): Iterable<string> {
    return this.#packages;
  }

  /** Takes a package's document: its root and all nodes that are not there yet. */
  add(hash: string, document: SpecDocument): void {
    for (const node of document.nodes.values()) if (!this.#nodes.has(node.hash)) this.#append(node);
    this.#packages.add(hash);
    this.#nodes.get(hash)!.inBuildcache = true;
  }

  async flush(): Promise<void> {
    if (!this.#out) return;
    await new Promise<void>((resolve, reject) => {
      this.#out!.write('', (error) => (error ? reject(error) : resolve()));
    });
  }

  async reader(): Promise<{ read: (node: NewNode) => Promise<Buffer>; close: () => Promise<void> }> {
    if (!this.#out) return { read: async () => Buffer.alloc(0), close: async () => {} };
    const file = await open(this.path, 'r');
    return {
      read: async ({ offset, length }) => {
        const bytes = Buffer.allocUnsafe(length);
        await file.read(bytes, 0, length, offset);
        return bytes;
      },
      close: () => file.close(),
    };
  }

  async close(): Promise<void> {
    if (!this.#out) return;
    this.#out.end();
    await finished(this.#out).catch(() => {});
  }

  #append(node: ConcreteNode): void {
    this.#out ??= createWriteStream(this.path, { highWaterMark: 1 << 20 });
    const bytes = Buffer.from(JSON.stringify(node.raw));
    this.#out.write(bytes);
    this.#nodes.set(node.hash, {
      offset: this.#offset,
      length: bytes.length,
      edges: countedEdges(node),
      inBuildcache: false,
    });
    this.#offset += bytes.length;
  }
}

/** A file that knows its sha256 and length. */
class HashedFile {
  readonly #hash = createHash('sha256');
  readonly #out: WriteStream;
  #waiting: Buffer[] = [];
  #length = 0;
  #size = 0;

  constructor(path: string) {
    this.#out = createWriteStream(path, { highWaterMark: 1 << 20 });
  }

  async write(bytes: Buffer): Promise<void> {
    this.#waiting.push(bytes);
    this.#length += bytes.length;
    if (this.#length >= 1 << 18) await this.#flush();
  }

  async finish(): Promise<Written> {
    await this.#flush();
    this.#out.end();
    await finished(this.#out);
    return { checksum: this.#hash.digest('hex'), size: this.#size };
  }

  async #flush(): Promise<void> {
    const bytes = Buffer.concat(this.#waiting, this.#length);
    this.#waiting = [];
    this.#length = 0;
    this.#hash.update(bytes);
    this.#size += bytes.length;
    if (!this.#out.write(bytes)) await new Promise<void>((resolve) => this.#out.once('drain', resolve));
  }
}
