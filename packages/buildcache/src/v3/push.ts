import { type Descriptor, digestOf } from '@stackwright/oci';
import { type Content, isNotFound, isPreconditionFailed } from '@stackwright/storage';
import pLimit from 'p-limit';
import { BuildcacheError } from '../error.js';
import { LayerScan } from '../layer-facts.js';
import type {
  PackageFailure,
  PackageSource,
  PushAllOptions,
  Pushed,
  PushOptions,
  PushResult,
} from '../mirror-writer.js';
import { buffered } from '../pack/buffered.js';
import { describe, type PackageRef } from '../package-ref.js';
import { fingerprintOf, readPublicKeys } from '../sign/key.js';
import type { Signer } from '../sign/signature.js';
import { statementOf } from '../statement.js';
import { layoutJson, mediaType, v3 } from './layout.js';
import { formatManifest, packageManifest, readManifest, recordOf } from './manifest.js';
import type { V3Reader } from './reader.js';
import { specBlob } from './spec-blob.js';

/**
 * Pushes one package: tarball and spec first, the manifest last, so that whoever sees the manifest can fetch the rest.
 * Killed anywhere it leaves at most blobs that nobody names, and doing it again finishes the work.
 */
export async function pushPackage(
  mirror: V3Reader,
  source: PackageSource,
  options: PushOptions = {},
): Promise<Pushed> {
  const { signal } = options;
  const ref: PackageRef = { name: source.name, version: source.version, hash: source.hash };
  const present = await stateOf(mirror, ref, options);
  if (!options.force && present === 'whole') return { ...ref, outcome: 'present' };

  const spec = specBlob(source.specText, describe(source));
  const scan = new LayerScan();
  const what = describe(source);
  const { packed, statement } = await buffered(
    scan.watch(source.items()),
    options,
    async (tarball, content) => {
      const { diffId, tarSize: size, descriptor } = tarball;
      // First of all: what is no package of Spack is not sent.
      const facts = { diffId, size, ...scan.result(what) };
      const about = statementOf(ref, facts, options.time);
      await putBlob(mirror, descriptor, content, mediaType.tarball, signal);
      return { packed: tarball, statement: about };
    },
  );
  await putBlob(mirror, spec.descriptor, spec.bytes, spec.descriptor.mediaType, signal);
  const manifest = formatManifest(packageManifest(packed.descriptor, spec.descriptor, statement));
  await preparePush(mirror, options.signer, signal);
  const text = options.signer ? await options.signer.sign(manifest, signal) : manifest;
  try {
    await mirror.store.put(v3.spec(ref), Buffer.from(text), {
      contentType: 'application/json',
      // A colleague who was quicker has pushed the same package: then theirs stays.
      precondition: present === 'absent' && !options.force ? { absent: true } : undefined,
      signal,
    });
  } catch (error) {
    if (isPreconditionFailed(error)) return { ...ref, outcome: 'present' };
    throw error;
  }
  return { ...ref, outcome: 'pushed', tarball: packed };
}

/** Pushes many, a few at a time. Goes on after a failure and reports it. */
export async function pushPackages(
  mirror: V3Reader,
  sources: readonly PackageSource[],
  options: PushAllOptions = {},
): Promise<PushResult> {
  const limit = pLimit(options.parallel ?? 3);
  const pushed: Pushed[] = [];
  const failed: PackageFailure[] = [];
  const pushOne = async (source: PackageSource) => {
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
  };
  await Promise.all(sources.map((source) => limit(pushOne, source)));
  options.signal?.throwIfAborted();
  return { pushed, failed };
}

/** Writes `layout.json` and the signer's public key, where they are missing. */
export async function preparePush(
  mirror: V3Reader,
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
export async function publishKey(mirror: V3Reader, armored: string, signal?: AbortSignal): Promise<string[]> {
  const keys = await readPublicKeys(armored, 'the key');
  await preparePush(mirror, undefined, signal);
  for (const key of keys) {
    const bytes = Buffer.from(keys.length === 1 ? armored : key.armor().replaceAll('\r\n', '\n'));
    const manifest = await putSmall(mirror, bytes, mediaType.key, signal);
    const at = v3.key(fingerprintOf(key));
    const { text } = await textAt(mirror, at, signal);
    if (text === manifest) continue;
    await mirror.store.put(at, Buffer.from(manifest), {
      contentType: 'application/json',
      signal,
    });
  }
  await updateKeyIndex(mirror, signal);
  return keys.map(fingerprintOf);
}

/** A manifest as it is there; no text and no etag when it is not. */
async function textAt(
  mirror: V3Reader,
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
export async function updateKeyIndex(mirror: V3Reader, signal?: AbortSignal): Promise<string[]> {
  for (let attempt = 1; ; attempt++) {
    const before = await textAt(mirror, v3.keyIndex, signal);
    const fingerprints: string[] = [];
    for await (const { key } of mirror.store.list(v3.keys, { signal })) {
      const match = /\/([0-9A-Fa-f]{16,40})\.key\.manifest\.json$/.exec(key);
      if (match) fingerprints.push(match[1]!);
    }
    const sorted = fingerprints.sort();
    const bytes = Buffer.from(`{"keys":{${sorted.map((one) => `"${one}":{}`).join(',')}}}`);
    const manifest = await putSmall(mirror, bytes, mediaType.keyIndex, signal);
    if (before.text === manifest) return sorted;
    try {
      await mirror.store.put(v3.keyIndex, Buffer.from(manifest), {
        contentType: 'application/json',
        precondition: before.etag ? { match: before.etag } : { absent: true },
        signal,
      });
      // Where nothing is kept to the condition, another's may have been replaced: it is read again until it is the same.
      if (mirror.store.conditional || attempt === 20) return sorted;
    } catch (error) {
      if (!isPreconditionFailed(error) || attempt === 20) throw error;
    }
  }
}

/** Writes a small blob as it is. Returns the text of a manifest that names it alone. */
async function putSmall(
  mirror: V3Reader,
  bytes: Buffer,
  type: string,
  signal?: AbortSignal,
): Promise<string> {
  const blob: Descriptor = { mediaType: type, digest: digestOf(bytes), size: bytes.length };
  await putBlob(mirror, blob, bytes, type, signal);
  return formatManifest({ version: 3, data: [recordOf(blob, type, 'none')] });
}

/** Age in milliseconds from which on a blob that is there is written again. */
const stale = 30 * 60_000;

/**
 * Writes a blob unless one of this name and length is there: its name is its content. One that has been there for long
 * may be an orphan that a pruning is about to delete, so it is written again and has a new time.
 */
export async function putBlob(
  mirror: V3Reader,
  { digest, size }: Pick<Descriptor, 'digest' | 'size'>,
  content: Content,
  contentType: string,
  signal?: AbortSignal,
): Promise<void> {
  const found = await mirror.store.head(v3.blob(digest), { signal });
  const old = found?.modified && Date.now() - found.modified.getTime() > stale;
  if (found?.size === size && !old) return;
  await mirror.store.put(v3.blob(digest), content, { contentType, signal });
}

async function putIfAbsent(
  mirror: V3Reader,
  key: string,
  bytes: Buffer,
  signal?: AbortSignal,
): Promise<void> {
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
  mirror: V3Reader,
  ref: PackageRef,
  options: PushOptions,
): Promise<'absent' | 'broken' | 'whole'> {
  try {
    const { manifest } = await mirror.withPolicy({ kind: 'unsigned' }).package(ref, options.signal);
    if (options.signer && !manifest.signed) return 'broken';
    const { digest, size } = manifest.tarball;
    const blob = await mirror.store.head(v3.blob(digest), { signal: options.signal });
    return blob?.size === size ? 'whole' : 'broken';
  } catch (error) {
    if (!(error instanceof BuildcacheError)) throw error;
    return error.code === 'missing-package' ? 'absent' : 'broken';
  }
}
