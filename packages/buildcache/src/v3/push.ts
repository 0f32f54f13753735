import { randomBytes } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import { type Content, isNotFound, isPreconditionFailed } from '@stackwright/storage';
import pLimit from 'p-limit';
import { sha256 } from '../blob.js';
import { BuildcacheError } from '../error.js';
import { type InstallTree, packInfoOf, readInstalled } from '../pack/install-tree.js';
import { type PackedTarball, packedBytes, packPrefix, type TarItem } from '../pack/pack.js';
import { layoutJson, mediaType, type PackageRef, v3 } from '../package-ref.js';
import { fingerprintOf, readPublicKeys } from '../sign/key.js';
import { isSigned, type Signer } from '../sign/signature.js';
import { gzipText, mirrorSpecText } from '../spec-document.js';
import { formatManifest, type Manifest, readManifest, record } from './manifest.js';
import type { Mirror } from './reader.js';

export interface PushOptions {
  /** Signs the manifests; left out: they stay unsigned. */
  readonly signer?: Signer;
  /** Push also what is there already. */
  readonly force?: boolean;
  readonly signal?: AbortSignal;
  /** Where large tarballs wait until their checksum is known; the system's temporary folder when left out. */
  readonly temporary?: string;
}

export interface Pushed extends PackageRef {
  /** `present`: it was there, whole, before. */
  readonly outcome: 'pushed' | 'present';
  readonly tarball?: PackedTarball;
}

/** What a mirror's package is made of. */
export interface PackageSource extends PackageRef {
  /** The spec's JSON as it goes into the mirror. */
  readonly specText: string;
  /** Of each item the bytes need to hold only until the next is asked for. */
  readonly items: () => AsyncIterable<TarItem>;
}

/** Bytes of a tarball up to which it is held in memory until it is sent. */
const inMemory = 16 * 1024 * 1024;

/**
 * An installed package as something to push.
 * @param spackPrefix where the Spack is that installed it; stands in `binary_distribution`
 */
export function installedPackage(prefix: string, tree: InstallTree, spackPrefix: string): PackageSource {
  const installed = readInstalled(prefix);
  const info = packInfoOf(installed, tree, spackPrefix);
  const { root } = installed.document;
  return {
    name: root.name,
    version: root.version,
    hash: root.hash,
    specText: mirrorSpecText(installed.document.text, prefix),
    items: () => packPrefix(installed.prefix, info, { reuse: true }),
  };
}

/**
 * Pushes one package: tarball and spec first, the manifest last, so that whoever sees the manifest can fetch the rest.
 * Killed anywhere it leaves at most blobs that nobody names, and doing it again finishes the work.
 */
export async function pushPackage(
  mirror: Mirror,
  source: PackageSource,
  options: PushOptions = {},
): Promise<Pushed> {
  const { signal } = options;
  const ref: PackageRef = { name: source.name, version: source.version, hash: source.hash };
  const present = await stateOf(mirror, ref, options);
  if (!options.force && present === 'whole') return { ...ref, outcome: 'present' };

  const spec = gzipText(source.specText);
  const specChecksum = sha256(spec);
  const tarball = await buffered(source.items(), options, async (packed, content) => {
    await putBlob(mirror, packed.checksum, content, mediaType.tarball, signal);
    return packed;
  });
  await putBlob(mirror, specChecksum, spec, mediaType.spec, signal);
  const manifest = formatManifest({
    version: 3,
    data: [
      record(tarball.size, mediaType.tarball, 'gzip', tarball.checksum),
      record(spec.length, mediaType.spec, 'gzip', specChecksum),
    ],
  });
  await preparePush(mirror, options.signer, signal);
  const text = options.signer ? await options.signer.sign(manifest, signal) : manifest;
  try {
    await mirror.store.put(v3.spec(ref), Buffer.from(text), {
      contentType: 'application/json',
      // A colleague who was quicker has pushed the same package: then theirs stays.
      ...(present === 'absent' && !options.force ? { precondition: { absent: true } } : {}),
      signal,
    });
  } catch (error) {
    if (isPreconditionFailed(error)) return { ...ref, outcome: 'present' };
    throw error;
  }
  return { ...ref, outcome: 'pushed', tarball };
}

/** Pushes many, a few at a time. Goes on after a failure and reports it. */
export async function pushPackages(
  mirror: Mirror,
  sources: readonly PackageSource[],
  options: PushOptions & {
    readonly parallel?: number;
    readonly onProgress?: (event: { readonly package: PackageRef; readonly outcome: Pushed | Error }) => void;
  } = {},
): Promise<{ pushed: Pushed[]; failed: { package: PackageRef; error: Error }[] }> {
  const limit = pLimit(options.parallel ?? 3);
  const pushed: Pushed[] = [];
  const failed: { package: PackageRef; error: Error }[] = [];
  await Promise.all(
    sources.map((source) =>
      limit(async () => {
        const ref = { name: source.name, version: source.version, hash: source.hash };
        if (options.signal?.aborted) return;
        try {
          const done = await pushPackage(mirror, source, options);
          pushed.push(done);
          options.onProgress?.({ package: ref, outcome: done });
        } catch (error) {
          // What was stopped has not failed.
          if (options.signal?.aborted) return;
          failed.push({ package: ref, error: error as Error });
          options.onProgress?.({ package: ref, outcome: error as Error });
        }
      }),
    ),
  );
  options.signal?.throwIfAborted();
  return { pushed, failed };
}

/** Writes `layout.json` and the signer's public key, where they are missing. */
export async function preparePush(
  mirror: Mirror,
  signer: Signer | undefined,
  signal?: AbortSignal,
): Promise<void> {
  let done = prepared.get(mirror.store);
  if (!done) {
    done = new Map();
    prepared.set(mirror.store, done);
  }
  const once = (what: string, work: () => Promise<void>) => {
    let running = done.get(what);
    if (!running) {
      running = work();
      done.set(what, running);
      running.catch(() => done.delete(what));
    }
    return running;
  };
  await once('layout', async () => {
    if (await mirror.store.head(v3.layout, { signal })) return;
    await putIfAbsent(mirror, v3.layout, Buffer.from(layoutJson), signal);
  });
  if (signer) {
    await once(signer.fingerprint, async () => {
      if (!(await mirror.store.head(v3.key(signer.fingerprint), { signal })))
        await publishKey(mirror, await signer.publicKey(), signal);
      // Whoever wrote the key may have ended before the index of keys.
      else await updateKeyIndex(mirror, signal);
    });
  }
}
const prepared = new WeakMap<object, Map<string, Promise<void>>>();

/** Publishes public keys (armored) and brings the key index up to date. Returns their fingerprints. */
export async function publishKey(mirror: Mirror, armored: string, signal?: AbortSignal): Promise<string[]> {
  const keys = await readPublicKeys(armored, 'the key');
  await preparePush(mirror, undefined, signal);
  for (const key of keys) {
    const bytes = Buffer.from(keys.length === 1 ? armored : key.armor().replaceAll('\r\n', '\n'));
    const checksum = sha256(bytes);
    await putBlob(mirror, checksum, bytes, mediaType.key, signal);
    const manifest: Manifest = { version: 3, data: [record(bytes.length, mediaType.key, 'none', checksum)] };
    const at = v3.key(fingerprintOf(key));
    const { text } = await textAt(mirror, at, signal);
    if (text === formatManifest(manifest)) continue;
    await mirror.store.put(at, Buffer.from(formatManifest(manifest)), {
      contentType: 'application/json',
      signal,
    });
  }
  await updateKeyIndex(mirror, signal);
  return keys.map(fingerprintOf);
}

/** A manifest as it is there; no text and no etag when it is not. */
async function textAt(
  mirror: Mirror,
  key: string,
  signal?: AbortSignal,
): Promise<{ text?: string; etag?: string | undefined }> {
  try {
    const { bytes, info } = await readManifest(mirror.store, key, signal);
    return { text: bytes.toString('utf8'), etag: info.etag };
  } catch (error) {
    if (isNotFound(error)) return {};
    throw error;
  }
}

/** Writes the key index from what is there. Returns the fingerprints. */
export async function updateKeyIndex(mirror: Mirror, signal?: AbortSignal): Promise<string[]> {
  for (let attempt = 1; ; attempt++) {
    const before = await textAt(mirror, v3.keyIndex, signal);
    const fingerprints: string[] = [];
    for await (const { key } of mirror.store.list(v3.keys, { signal })) {
      const match = /\/([0-9A-Fa-f]{16,40})\.key\.manifest\.json$/.exec(key);
      if (match) fingerprints.push(match[1]!);
    }
    const sorted = fingerprints.sort();
    const bytes = Buffer.from(`{"keys":{${sorted.map((one) => `"${one}":{}`).join(',')}}}`);
    const checksum = sha256(bytes);
    await putBlob(mirror, checksum, bytes, mediaType.keyIndex, signal);
    const manifest: Manifest = {
      version: 3,
      data: [record(bytes.length, mediaType.keyIndex, 'none', checksum)],
    };
    if (before.text === formatManifest(manifest)) return sorted;
    try {
      await mirror.store.put(v3.keyIndex, Buffer.from(formatManifest(manifest)), {
        contentType: 'application/json',
        precondition: before.etag ? { match: before.etag } : { absent: true },
        signal,
      });
      return sorted;
    } catch (error) {
      if (!isPreconditionFailed(error) || attempt === 20) throw error;
    }
  }
}

/** Age in milliseconds from which on a blob that is there is written again. */
const stale = 30 * 60_000;

/**
 * Writes a blob unless one of this name and length is there: its name is its content. One that has been there for long
 * may be an orphan that a pruning is about to delete, so it is written again and has a new time.
 */
export async function putBlob(
  mirror: Mirror,
  checksum: string,
  content: Content,
  contentType: string,
  signal?: AbortSignal,
): Promise<void> {
  const size = content instanceof Uint8Array ? content.byteLength : content.size;
  const found = await mirror.store.head(v3.blob(checksum), { signal });
  const old = found?.modified && Date.now() - found.modified.getTime() > stale;
  if (found?.size === size && !old) return;
  await mirror.store.put(v3.blob(checksum), content, { contentType, signal });
}

async function putIfAbsent(mirror: Mirror, key: string, bytes: Buffer, signal?: AbortSignal): Promise<void> {
  try {
    await mirror.store.put(key, bytes, {
      contentType: 'application/json',
      precondition: { absent: true },
      signal,
    });
  } catch (error) {
    if (!isPreconditionFailed(error)) throw error;
  }
}

async function stateOf(
  mirror: Mirror,
  ref: PackageRef,
  options: PushOptions,
): Promise<'absent' | 'broken' | 'whole'> {
  try {
    const { manifest } = await mirror.withPolicy({ kind: 'unsigned' }).package(ref, options.signal);
    if (options.signer && !isSigned(manifest.text)) return 'broken';
    const blob = await mirror.store.head(v3.blob(manifest.tarball.checksum), { signal: options.signal });
    return blob?.size === manifest.tarball.contentLength ? 'whole' : 'broken';
  } catch (error) {
    if (!(error instanceof BuildcacheError)) throw error;
    return error.code === 'missing-package' ? 'absent' : 'broken';
  }
}

/** Packs, keeping the bytes in memory or, when they are many, in a file, until `use` has taken them. */
export async function buffered<T>(
  items: AsyncIterable<TarItem>,
  options: Pick<PushOptions, 'signal' | 'temporary'>,
  use: (packed: PackedTarball, content: Content) => Promise<T>,
): Promise<T> {
  let packed: PackedTarball | undefined;
  const chunks: Buffer[] = [];
  let length = 0;
  let folder: string | undefined;
  let file: ReturnType<typeof createWriteStream> | undefined;
  try {
    for await (const chunk of packedBytes(items, (done) => (packed = done))) {
      options.signal?.throwIfAborted();
      if (!file && length + chunk.length > inMemory) {
        folder = await mkdtemp(join(options.temporary ?? tmpdir(), 'stackwright-pack-'));
        file = createWriteStream(join(folder, randomBytes(4).toString('hex')), { highWaterMark: 1 << 20 });
        for (const earlier of chunks.splice(0)) file.write(earlier);
      }
      if (file) {
        if (!file.write(chunk))
          await new Promise<void>((resolve, reject) => {
            file!.once('drain', resolve).once('error', reject);
          });
      } else chunks.push(chunk);
      length += chunk.length;
    }
    if (!packed) throw new BuildcacheError('failed', 'install-tree', 'Packing ended without a result.');
    if (!file) return await use(packed, Buffer.concat(chunks, length));
    file.end();
    await finished(file);
    const path = String(file.path);
    return await use(packed, {
      size: length,
      open: () => createReadStream(path, { highWaterMark: 1 << 20 }),
    });
  } finally {
    if (folder) await rm(folder, { recursive: true, force: true });
  }
}
