import { createReadStream, createWriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Descriptor, Digest } from '@stackwright/oci';
import { isNotFound, isPreconditionFailed } from '@stackwright/storage';
import { BuildcacheError, hasCode } from '../error.js';
import { checkOneRoot, checkRoot } from '../identity.js';
import type { IndexOptions, IndexResult, ViewUpdate } from '../mirror-writer.js';
import { describe } from '../package-ref.js';
import { readPublicKeys } from '../sign/key.js';
import { isSigned, type Signer, Trust, verifySigned } from '../sign/signature.js';
import { type DatabaseVersion, databaseType, packageOfKey, specType, v3 } from '../v3/layout.js';
import { blobOf, formatManifest, recordOf } from '../v3/manifest.js';
import { preparePush } from '../v3/push.js';
import { databaseVersions, type IndexManifest, type V3Reader } from '../v3/reader.js';
import {
  countedEdges,
  databaseBatches,
  databaseFrame,
  entryState,
  formatEntry,
  type PlacedEntry,
  parseEntry,
  withState,
} from './database.js';
import { HashedFile, readBlocks, Spool } from './index-file.js';
import { type IndexStatement, nextStatement } from './index-statement.js';
import { SpecNodes } from './spec-nodes.js';

const tries = 30;

/**
 * Brings the mirror's index up to date. Only packages that it lacks are read; entries that stay are copied as bytes.
 * The new index replaces the old one only if nobody else has meanwhile, else all is done again on top of theirs.
 * Memory: some hundred bytes a package; the index itself passes through a temporary file.
 */
export async function updateIndex(reader: V3Reader, options: IndexOptions = {}): Promise<IndexResult> {
  const mirror = reader.withView(options.view?.name);
  const folder = await mkdtemp(join(tmpdir(), 'stackwright-index-'));
  const news = new Spool(join(folder, 'nodes'));
  try {
    for (let attempt = 1; ; attempt++) {
      const result = await attemptUpdate(mirror, options, folder, news);
      if (result) return result;
      if (attempt === tries) {
        throw new BuildcacheError(
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
    news.close();
    await rm(folder, { recursive: true, force: true });
  }
}

/**
 * One try; undefined when another writer was quicker. An index may name databases of several versions, for Spacks of
 * several versions: each that is known is brought up to date, with the packages that its readers can read, and the others
 * stay as they are.
 */
async function attemptUpdate(
  mirror: V3Reader,
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
  const etag = current?.etag ?? (await mirror.store.head(mirror.indexKey, { signal }))?.etag;
  const listed = await listPackages(mirror, signal);
  const all = options.view ? undefined : new Set(listed.keys());
  if (options.view) await restrict(listed, mirror, options.view, current, signal);
  for (const hash of options.exclude ?? []) listed.delete(hash);

  const signing = await signingOf(current, options);
  // Whoever signs vouches for what is taken over, too.
  const trusting = signing.own ? options : { ...options, full: options.full || signing.signer !== undefined };
  const made = new Map<DatabaseVersion, Database>();
  const make = async (version: DatabaseVersion) =>
    void made.set(version, await makeDatabase(mirror, version, current, listed, trusting, folder, news));
  for (const version of current?.databases.keys() ?? []) await make(version);
  // Without one that all Spacks can read it is written, and one for newer packages where there are some.
  if (made.size === 0) await make(8);
  if (news.hasNewer && !made.has(9)) await make(9);

  const newest = made.get(9) ?? made.get(8)!;
  const { note } = newest;
  const broken = newest.broken.filter((one) => !one.newer);
  const newer = newest.broken.filter((one) => one.newer).map((one) => one.package);
  const readable = listed.size - newest.broken.length;
  const left = new Set(newest.broken.map((one) => one.hash));
  const kept = [...newest.had.kept].filter((hash) => !left.has(hash)).length;
  const wasSigned = current !== undefined && isSigned(current.text);
  const written = signing.signer !== undefined || [...made.values()].some((one) => one.written);
  const statement = signing.signer && nextStatement(signing.own, readable, options.time);
  if (
    written &&
    !(await commit(mirror, made, current, etag, { ...options, signer: signing.signer, statement }))
  )
    return undefined;
  if (written && !mirror.store.conditional && !(await stands(mirror, all, signal))) return undefined;
  const unsigned =
    wasSigned && written && !signing.signer
      ? `The index of ${mirror.url} was signed and is not any more. Sign it: stackwright mirror index URL --key FILE`
      : undefined;
  return {
    packages: readable,
    added: readable - kept,
    removed: newest.had.gone.length,
    kept,
    broken: broken.map(({ package: name, reason }) => ({ package: name, reason })),
    newer,
    signed: signing.signer !== undefined || (wasSigned && !written),
    outcome: written ? 'written' : 'unchanged',
    note: written ? [note, unsigned].filter(Boolean).join('\n') || undefined : undefined,
  };
}

/**
 * Who signs the index.
 * @returns `own`: what the index before says of itself, where the same key has signed it
 */
async function signingOf(
  current: IndexManifest | undefined,
  { signer, signNew }: IndexOptions,
): Promise<{ readonly signer: Signer | undefined; readonly own: IndexStatement | undefined }> {
  const before = current && isSigned(current.text) ? current : undefined;
  if (!signer || !(signNew || before)) return { signer: undefined, own: undefined };
  if (!before) return { signer, own: undefined };
  const trust = new Trust(await readPublicKeys(await signer.publicKey(), 'the signing key'));
  try {
    await verifySigned(before.text, trust, 'the index');
    return { signer, own: before.statement };
  } catch (error) {
    if (error instanceof BuildcacheError) return { signer, own: undefined };
    throw error;
  }
}

/** Leaves in `listed` what an index view is to hold. */
async function restrict(
  listed: Map<string, string>,
  mirror: V3Reader,
  { name, mode, packages = new Set() }: ViewUpdate,
  current: IndexManifest | undefined,
  signal?: AbortSignal,
): Promise<void> {
  if (mode === 'create' && current) {
    throw new BuildcacheError('view-exists', `${mirror.url} has an index view "${name}" already.`, {
      mirror: mirror.url,
      key: mirror.indexKey,
      hint: 'Add to it with --append, or replace it with --force.',
    });
  }
  if (mode === 'refresh' && !current) {
    throw new BuildcacheError('missing-view', `${mirror.url} has no index view "${name}" that can be read.`, {
      mirror: mirror.url,
      key: mirror.indexKey,
      hint: 'Write it with: stackwright mirror index URL --view NAME SPEC…',
    });
  }
  const wanted = new Set(mode === 'refresh' ? [] : packages);
  if (mode === 'append' || mode === 'refresh') {
    for (const version of current?.databases.keys() ?? []) {
      const stream = await mirror.indexStream(signal, version);
      for await (const entries of databaseBatches(stream, `${mirror.url}: the index view ${name}`))
        for (const entry of entries) if (entryState(entry, mirror.url).inBuildcache) wanted.add(entry.hash);
    }
  }
  for (const hash of listed.keys()) if (!wanted.has(hash)) listed.delete(hash);
}

/** A database of one version, as it is to be. */
interface Database {
  /** What the index before said; nothing where it could not be read. */
  readonly had: Known;
  readonly broken: readonly Unreadable[];
  readonly note: string | undefined;
  /** The blob: the new one, or the one that says all this already. */
  readonly blob: Descriptor;
  /** The file that holds it, when it is new. */
  readonly written: string | undefined;
}

async function makeDatabase(
  mirror: V3Reader,
  version: DatabaseVersion,
  current: IndexManifest | undefined,
  listed: ReadonlyMap<string, string>,
  options: IndexOptions,
  folder: string,
  news: Spool,
): Promise<Database> {
  const before = current?.databases.get(version);
  const fetched = before
    ? await fetchIndex(mirror, version, join(folder, `current-${version}`), options.signal)
    : { file: undefined, note: undefined };
  const nothing: Known = { kept: new Set(), gone: [], without: new Set() };
  const had = fetched.file
    ? await compare(fetched.file, listed, mirror.url).catch((error: unknown) => {
        // Written anew from the packages it does not matter what it said, but for the counts.
        if (options.full && error instanceof BuildcacheError) return nothing;
        throw error;
      })
    : nothing;
  const { file, note } = options.full ? { file: undefined, note: undefined } : fetched;
  const known = options.full ? nothing : had;
  const missing = [...listed].filter(([hash]) => !known.kept.has(hash));
  const broken = await readPackages(
    mirror,
    missing.map(([, key]) => key),
    news,
    options,
  );
  const brokenHashes = new Set(broken.map((one) => one.hash));
  const present = (hash: string) =>
    listed.has(hash) && !brokenHashes.has(hash) && (version === 9 || !news.isNewer(hash));
  const shared = { had, broken, note };
  if (before && file && known.gone.length === 0 && !missing.some(([hash]) => present(hash)))
    return { ...shared, blob: before, written: undefined };
  const written = join(folder, `next-${version}`);
  const blob = await writeIndex(written, version, file, known, news, { present, where: mirror.url });
  return { ...shared, blob, written };
}

async function fetchIndex(
  mirror: V3Reader,
  version: DatabaseVersion,
  path: string,
  signal?: AbortSignal,
): Promise<{ file: string | undefined; note: string | undefined }> {
  try {
    await pipeline(await mirror.indexStream(signal, version), createWriteStream(path), { signal });
    return { file: path, note: undefined };
  } catch (error) {
    // A damaged index is no reason to stop: all that it said can be read from the packages.
    if (hasCode(error, 'checksum', 'length', 'missing-blob', 'missing-index')) {
      return { file: undefined, note: `The index before could not be used: ${error.message}` };
    }
    throw error;
  }
}

/** Keys of the manifests by hash. */
async function listPackages(mirror: V3Reader, signal?: AbortSignal): Promise<Map<string, string>> {
  const listed = new Map<string, string>();
  for await (const { hash, info } of mirror.packages(signal)) listed.set(hash, info.key);
  return listed;
}

interface Known {
  /** In the index with a binary, and in the mirror. */
  readonly kept: Set<string>;
  /** In the index with a binary that the mirror no longer has. */
  readonly gone: readonly string[];
  /** All else that the index has. */
  readonly without: Set<string>;
}

async function compare(file: string, listed: ReadonlyMap<string, unknown>, where: string): Promise<Known> {
  const kept = new Set<string>();
  const without = new Set<string>();
  const gone: string[] = [];
  for await (const entries of databaseBatches(readBlocks(file), where)) {
    for (const entry of entries) {
      const { inBuildcache } = entryState(entry, where);
      if (inBuildcache && listed.has(entry.hash)) {
        kept.add(entry.hash);
        continue;
      }
      without.add(entry.hash);
      if (inBuildcache) gone.push(entry.hash);
    }
  }
  return { kept, gone, without };
}

/** A package that has no entry because its spec could not be read. */
interface Unreadable {
  readonly hash: string;
  readonly package: string;
  readonly reason: string;
  /** It is of a newer Spack, which is no fault of the package. */
  readonly newer: boolean;
}

/** Reads what is new into the spool. Returns what could not be read. */
async function readPackages(
  mirror: V3Reader,
  keys: readonly string[],
  news: Spool,
  options: IndexOptions,
): Promise<Unreadable[]> {
  const reader = mirror.withPolicy({ kind: 'unsigned' });
  const specs = new SpecNodes();
  const broken: Unreadable[] = [];
  let done = 0;
  let stopped: unknown;
  const read = async (key: string) => {
    const ref = packageOfKey(key)!;
    try {
      if (!news.isPackage(ref.hash)) {
        const manifest = await reader.manifestAt(key, ref, options.signal);
        const nodes = specs.read(await reader.specJson(manifest, options.signal), describe(ref));
        checkRoot(ref, nodes[0]!, { mirror: mirror.url, key });
        checkOneRoot(nodes, describe(ref));
        news.add(ref.hash, nodes, isNewerSpec(manifest.spec.mediaType));
      }
    } catch (error) {
      // Deleted since it was listed: then it does not belong into the index.
      if (hasCode(error, 'missing-package') || isNotFound(error) || error instanceof BuildcacheError) {
        const newer = hasCode(error, 'newer');
        broken.push({ hash: ref.hash, package: describe(ref), reason: (error as Error).message, newer });
        if (!options.skipBroken && !newer && !hasCode(error, 'missing-package')) stopped ??= error;
      } else stopped ??= error;
    }
    options.onProgress?.(++done, keys.length);
  };
  const waiting = keys.values();
  const readOn = async () => {
    for (const key of waiting) {
      if (stopped !== undefined || options.signal?.aborted) return;
      await read(key);
    }
  };
  await Promise.all(Array.from({ length: options.parallel ?? 16 }, readOn));
  options.signal?.throwIfAborted();
  if (stopped instanceof BuildcacheError) {
    throw new BuildcacheError(
      stopped.code,
      `The index cannot be written, a package is broken. ${stopped.message}`,
      { ...stopped.details, hint: 'To write it without broken packages: --skip-broken' },
      { cause: stopped },
    );
  }
  if (stopped !== undefined) throw stopped;
  return broken;
}

/** Whether only readers of database 9 can read the spec. */
function isNewerSpec(type: string): boolean {
  return type === specType(6);
}

/** Writes the new index: entries that stay as they are, then the new ones; counters as Spack counts. */
async function writeIndex(
  target: string,
  version: DatabaseVersion,
  current: string | undefined,
  known: Known,
  news: Spool,
  options: { readonly present: (hash: string) => boolean; readonly where: string },
): Promise<Descriptor> {
  const { fresh, change } = countNew(known, news, options.present);
  const gone = new Set(known.gone);
  const dropped =
    current && gone.size > 0 ? await unneeded(current, gone, change, options.where) : new Set<string>();
  const isPresent = (hash: string) => (known.kept.has(hash) || news.isPackage(hash)) && options.present(hash);

  const out = new HashedFile(target);
  try {
    let first = true;
    const write = (hash: string, value: Buffer) => {
      out.write(databaseFrame.key(hash, first));
      out.write(value);
      first = false;
    };
    out.write(databaseFrame.head(version));
    for await (const entries of current ? databaseBatches(readBlocks(current), options.where) : []) {
      // Neighbours that stay are passed on together.
      let run: { readonly from: PlacedEntry; to: PlacedEntry } | undefined;
      const endRun = () => {
        if (run) write(run.from.hash, run.from.buffer.subarray(run.from.start, run.to.end));
        run = undefined;
      };
      for (const entry of entries) {
        if (dropped.has(entry.hash)) continue;
        const state = entryState(entry, options.where);
        const refCount = state.refCount + (change.get(entry.hash) ?? 0);
        const inBuildcache = isPresent(entry.hash);
        if (refCount === state.refCount && inBuildcache === state.inBuildcache) {
          if (run && entry.follows(run.to)) run.to = entry;
          else {
            endRun();
            run = { from: entry, to: entry };
          }
          continue;
        }
        endRun();
        write(entry.hash, withState(entry, { refCount, inBuildcache }, options.where));
      }
      endRun();
    }
    for (const { hash, text } of news.texts(fresh)) {
      const refCount = change.get(hash) ?? 0;
      write(hash, formatEntry(text, { refCount, inBuildcache: isPresent(hash) }));
    }
    out.write(databaseFrame.end);
    return { mediaType: databaseType(version), ...out.finish() };
  } finally {
    out.close();
  }
}

/** The nodes that are new, and how much each node's count of dependents changes by them. */
function countNew(
  known: Known,
  news: Spool,
  present: (hash: string) => boolean,
): { fresh: Set<string>; change: Map<string, number> } {
  const change = new Map<string, number>();
  const fresh = new Set<string>();
  const queue: string[] = [];
  for (const hash of news.packages()) {
    if (!present(hash)) continue;
    // A package that was known so far as a dependency only: the index counts its edges already, if not what they lead to.
    queue.push(hash, ...news.edges(hash)!);
    for (let at = queue.pop(); at !== undefined; at = queue.pop()) {
      const edges = news.edges(at);
      if (!edges || known.kept.has(at) || known.without.has(at) || fresh.has(at)) continue;
      fresh.add(at);
      for (const edge of edges) {
        change.set(edge, (change.get(edge) ?? 0) + 1);
        queue.push(edge);
      }
    }
  }
  return { fresh, change };
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
  for await (const entries of databaseBatches(readBlocks(current), where)) {
    for (const entry of entries) {
      const state = entryState(entry, where);
      if (state.inBuildcache && !gone.has(entry.hash)) continue;
      candidates.set(entry.hash, {
        refCount: state.refCount,
        edges: countedEdges(parseEntry(entry, where).node),
      });
    }
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

/** Blobs, then manifest. False when the manifest is no longer the one that was read. */
async function commit(
  mirror: V3Reader,
  made: ReadonlyMap<DatabaseVersion, Database>,
  current: IndexManifest | undefined,
  etag: string | undefined,
  options: IndexOptions & { readonly statement?: IndexStatement },
): Promise<boolean> {
  const { signal, signer, statement } = options;
  const { store } = mirror;
  const blobs = databaseVersions.flatMap((version) => made.get(version)?.blob ?? []);
  const data = [...blobs.map((blob) => recordOf(blob, blob.mediaType, 'none')), ...(current?.others ?? [])];
  for (const { blob, written } of made.values()) {
    if (written === undefined) continue;
    // Always written, even where it is there: a new time keeps others from collecting it as old.
    const open = () => createReadStream(written, { highWaterMark: 1 << 20 });
    await store.put(v3.blob(blob.digest), { size: blob.size, open }, { contentType: blob.mediaType, signal });
  }
  await preparePush(mirror, signer, signal);
  const plain = formatManifest({ version: 3, data, stackwrightIndex: statement });
  const text = signer ? await signer.sign(plain, signal) : plain;
  try {
    await store.put(mirror.indexKey, Buffer.from(text), {
      contentType: 'application/json',
      precondition: etag ? { match: etag } : { absent: true },
      signal,
    });
  } catch (error) {
    if (isPreconditionFailed(error)) return false;
    throw error;
  }
  const names = new Set(data.map((record) => blobOf(record).digest));
  if (!store.conditional) {
    // Without conditions two writers can both believe they won. Whoever finds another's manifest does it again.
    await sleep(200 + Math.random() * 300, undefined, { signal });
    const now = await digestsOf(mirror, signal);
    if (now.size !== names.size || [...now].some((digest) => !names.has(digest))) return false;
  }
  for (const { digest } of blobs) {
    // A pruning may have taken the blob for an orphan before the manifest named it.
    if (!(await store.head(v3.blob(digest), { signal }))) return false;
  }
  for (const { digest } of current?.databases.values() ?? [])
    if (!names.has(digest)) await collect(mirror, digest, options);
  return true;
}

/**
 * Whether what was listed is still all that there is. Where a store keeps no conditions, the index that was written may
 * have replaced a newer one: whoever writes last lists the packages after that, and so sees those of all others.
 * @param listed what the index was made from; undefined for an index view, which names its packages itself
 */
async function stands(
  mirror: V3Reader,
  listed: ReadonlySet<string> | undefined,
  signal?: AbortSignal,
): Promise<boolean> {
  if (!listed) return true;
  const now = await listPackages(mirror, signal);
  return now.size === listed.size && [...now.keys()].every((hash) => listed.has(hash));
}

/** Digests of the databases that the index's manifest names. */
async function digestsOf(mirror: V3Reader, signal?: AbortSignal): Promise<Set<Digest>> {
  const now = await mirror.indexManifest(signal);
  const others = now?.others.map((record) => blobOf(record)) ?? [];
  return new Set([...(now?.databases.values() ?? []), ...others].map((blob) => blob.digest));
}

/** Deletes the blob of the index before, unless it is so young that someone may be about to read it. */
async function collect(mirror: V3Reader, digest: Digest, options: IndexOptions): Promise<void> {
  const keep = options.keepReplaced ?? 10 * 60_000;
  const key = v3.blob(digest);
  const found = await mirror.store.head(key, { signal: options.signal });
  if (!found?.modified || Date.now() - found.modified.getTime() < keep) return;
  const now = await digestsOf(mirror, options.signal);
  if (!now.has(digest)) await mirror.store.delete([key], { signal: options.signal });
}
