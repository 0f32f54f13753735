import { setTimeout as sleep } from 'node:timers/promises';
import { type Descriptor, digestOf, mediaTypes } from '@stackwright/oci';
import { reachable } from '@stackwright/spack-env';
import pLimit from 'p-limit';
import { BuildcacheError } from '../error.js';
import { countedEdges, databaseFrame, formatEntry } from '../index/database.js';
import type { MirrorIndex } from '../mirror.js';
import type { IndexOptions, IndexResult } from '../mirror-writer.js';
import type { SpecDocument } from '../spec-document.js';
import { putDocument } from './image.js';
import type { OciReader } from './reader.js';
import { indexTag } from './tag.js';

type Node = SpecDocument['root'];

/** How often the index is written again because others have pushed or deleted meanwhile. */
const tries = 20;

/**
 * Brings the index up to date: only packages that it lacks are read. A registry knows no conditional writes, so the tags
 * are listed again after each write, and the index is written again until it names exactly what is there: whoever
 * writes last has seen all packages whose pusher does not write the index after that.
 */
export async function updateOciIndex(mirror: OciReader, options: IndexOptions = {}): Promise<IndexResult> {
  const { signal } = options;
  const first = options.full ? undefined : await indexBefore(mirror, signal);
  let before = first;
  let listed = await tagsOf(mirror, signal);
  let written = false;
  for (let attempt = 1; ; attempt++) {
    const made = await makeIndex(mirror, listed, before, options);
    const digest = digestOf(made.bytes);
    if ((await mirror.indexLayer(signal))?.digest !== digest) {
      // Spack calls the index a layer of this type too, though it is plain JSON.
      const layer = await putDocument(mirror.repository, made.bytes, mediaTypes.layerGzip, signal);
      await putIndex(mirror, layer, signal);
      written = true;
    }
    const now = await tagsOf(mirror, signal);
    if (now.size === listed.size && [...now.keys()].every((hash) => listed.has(hash))) {
      const { hashes } = made.index;
      const had = first?.hashes ?? new Set<string>();
      const kept = [...hashes].filter((hash) => had.has(hash)).length;
      return {
        packages: hashes.size,
        added: hashes.size - kept,
        removed: had.size - kept,
        kept,
        broken: made.broken,
        newer: [],
        signed: false,
        outcome: written ? 'written' : 'unchanged',
      };
    }
    if (attempt === tries) {
      throw new BuildcacheError('conflict', `Others keep on writing the index of ${mirror.url}.`, {
        mirror: mirror.url,
        hint: 'Update it again later.',
      });
    }
    // Others have pushed: the more often, the more of theirs is waited for.
    await sleep(Math.random() * Math.min(25 * 2 ** attempt, 5000), undefined, { signal });
    before = made.index;
    listed = await tagsOf(mirror, signal);
  }
}

/** The image that holds the index: Spack gives it an empty configuration. */
async function putIndex(mirror: OciReader, layer: Descriptor, signal?: AbortSignal): Promise<void> {
  const config = await putDocument(mirror.repository, Buffer.from('{}'), mediaTypes.config, signal);
  const { manifest: mediaType } = mediaTypes;
  const manifest = Buffer.from(JSON.stringify({ mediaType, schemaVersion: 2, config, layers: [layer] }));
  await mirror.repository.putManifest(indexTag, manifest, mediaType, signal);
}

async function indexBefore(mirror: OciReader, signal?: AbortSignal): Promise<MirrorIndex | undefined> {
  return (await mirror.hasIndex(signal)) ? mirror.index(signal) : undefined;
}

/** Tags of packages by hash. */
async function tagsOf(mirror: OciReader, signal?: AbortSignal): Promise<Map<string, string>> {
  const tags = new Map<string, string>();
  for await (const { tag, hash } of mirror.tags(signal)) tags.set(hash, tag);
  return tags;
}

async function makeIndex(
  mirror: OciReader,
  tags: ReadonlyMap<string, string>,
  before: MirrorIndex | undefined,
  options: IndexOptions,
): Promise<{ bytes: Buffer; index: MirrorIndex; broken: IndexResult['broken'] }> {
  const { signal } = options;
  const listed = [...tags].filter(([hash]) => !options.exclude?.has(hash));
  const hashes = new Set(listed.flatMap(([hash]) => (before?.hashes.has(hash) ? [hash] : [])));
  const nodes: Map<string, Node> = before ? reachable(before.nodes, hashes) : new Map();
  const broken: { package: string; reason: string }[] = [];
  const limit = pLimit(options.parallel ?? 8);
  const reading: Promise<void>[] = [];
  let done = hashes.size;
  for (const [hash, tag] of listed) {
    if (hashes.has(hash)) continue;
    const job = limit(async () => {
      signal?.throwIfAborted();
      try {
        const one = await mirror.packageAt(tag, signal);
        // Deleted since it was listed.
        if (one) {
          hashes.add(one.hash);
          for (const [found, node] of reachable(one.document.nodes, [one.hash]))
            if (!nodes.has(found)) nodes.set(found, node);
        }
      } catch (error) {
        if (!options.skipBroken || !(error instanceof BuildcacheError)) throw error;
        broken.push({ package: tag, reason: error.message });
      }
      options.onProgress?.(++done, tags.size);
    });
    // Awaited below, all together; a failure before that must not count as unhandled.
    job.catch(() => {});
    reading.push(job);
  }
  try {
    await Promise.all(reading);
  } finally {
    limit.clearQueue();
  }
  return { bytes: formatIndex(nodes, hashes), index: { nodes, hashes }, broken };
}

/** The database's JSON: the same for the same packages. */
function formatIndex(nodes: ReadonlyMap<string, Node>, present: ReadonlySet<string>): Buffer {
  const counts = new Map<string, number>();
  for (const node of nodes.values())
    for (const edge of countedEdges(node)) counts.set(edge, (counts.get(edge) ?? 0) + 1);
  const parts: Buffer[] = [databaseFrame.head(8)];
  for (const hash of [...nodes.keys()].sort()) {
    const state = { refCount: counts.get(hash) ?? 0, inBuildcache: present.has(hash) };
    parts.push(
      databaseFrame.key(hash, parts.length === 1),
      formatEntry(JSON.stringify(nodes.get(hash)!.raw), state),
    );
  }
  parts.push(databaseFrame.end);
  return Buffer.concat(parts);
}
