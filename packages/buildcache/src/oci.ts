import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import {
  type Credentials,
  type Descriptor,
  type Digest,
  digestOf,
  type ImageConfig,
  type Manifest as ImageManifest,
  mediaTypes,
  parseReference,
  RegistryRepository,
  readAll,
} from '@stackwright/oci';
import { format } from '@stackwright/spack-env';
import pLimit from 'p-limit';
import { sha256 } from './blob.js';
import { countedEdges, databaseEntries, databaseFrame, formatEntry, parseEntry } from './database.js';
import { BuildcacheError } from './error.js';
import { mediaType, type PackageRef, v3 } from './layout.js';
import { formatManifest } from './manifest.js';
import type { Mirror, MirrorIndex } from './mirror.js';
import { preparePush, putBlob, record } from './push.js';
import type { Signer } from './signature.js';
import { gzipText, parseSpecDocument, type SpecDocument } from './spec-document.js';

/** A package in a registry: an image whose last layer is the package's tarball and whose config holds its spec. */
export interface OciPackage extends PackageRef {
  readonly layer: Descriptor;
  /** sha256 of the tar, uncompressed. */
  readonly diffId: Digest;
  readonly document: SpecDocument;
}

const indexTag = 'index.spack';

/** A build cache in an OCI registry, as Spack lays it out: one tag a package, and `index.spack`. */
export class OciCache {
  constructor(readonly repository: RegistryRepository) {}

  /**
   * Opens `oci://REGISTRY/REPOSITORY`, or `oci+http://…` for a registry without TLS.
   * @throws BuildcacheError `unsupported` for another URL
   */
  static open(
    url: string,
    options: { readonly credentials?: () => Promise<Credentials | undefined> } = {},
  ): OciCache {
    const match = /^oci(\+http)?:\/\/(.+)$/.exec(url);
    if (!match) {
      throw new BuildcacheError('input', 'unsupported', `${url} is no address of an OCI build cache.`, {
        hint: 'Write oci://REGISTRY/REPOSITORY, or oci+http:// for one without TLS.',
      });
    }
    const { registry, repository } = parseReference(match[2]!);
    return new OciCache(
      new RegistryRepository(registry, repository, {
        ...(match[1] ? { http: true } : {}),
        credentials: options.credentials,
      }),
    );
  }

  get url(): string {
    return `oci://${this.repository.name}`;
  }

  /** Tags that are packages. */
  async *tags(signal?: AbortSignal): AsyncGenerator<string> {
    for await (const tag of this.repository.tags(signal)) {
      if (tag.endsWith('.spack') && tag !== indexTag) yield tag;
    }
  }

  /** What a tag holds; undefined when there is no such tag. @throws BuildcacheError `spec` when it is no package */
  async package(tag: string, signal?: AbortSignal): Promise<OciPackage | undefined> {
    const found = await this.repository.manifest(tag, signal);
    if (!found) return undefined;
    const where = `${this.url}:${tag}`;
    const manifest = JSON.parse(found.bytes.toString('utf8')) as ImageManifest;
    const text = (await readAll(await this.repository.blob(manifest.config, signal))).toString('utf8');
    const config = JSON.parse(text) as ImageConfig & { spec?: unknown };
    const layer = manifest.layers.at(-1);
    const diffId = config.rootfs?.diff_ids?.at(-1);
    if (!config.spec || !layer || !diffId) {
      throw new BuildcacheError('input', 'spec', `${where} is an image, but no package of a build cache.`, {
        key: tag,
      });
    }
    const document = parseSpecDocument(
      JSON.stringify({ spec: config.spec, buildcache_layout_version: 2 }),
      where,
    );
    const { name, version, hash } = document.root;
    return { name, version, hash, layer, diffId, document };
  }

  /** The package's tarball, verified while it streams. */
  tarball(one: OciPackage, signal?: AbortSignal): Promise<Readable> {
    return this.repository.blob(one.layer, signal);
  }

  /** @throws BuildcacheError `missing-index` */
  async index(signal?: AbortSignal): Promise<MirrorIndex> {
    const found = await this.repository.manifest(indexTag, signal);
    if (!found) {
      throw new BuildcacheError('missing', 'missing-index', `${this.url} has no index.`, {
        mirror: this.url,
        hint: `Write one with: stackwright mirror index ${this.url}`,
      });
    }
    const { layers } = JSON.parse(found.bytes.toString('utf8')) as ImageManifest;
    const hashes = new Set<string>();
    const nodes: Map<string, SpecDocument['root']> = new Map();
    for await (const entry of databaseEntries(await this.repository.blob(layers[0]!, signal), this.url)) {
      const { node, inBuildcache } = parseEntry(entry, this.url);
      nodes.set(node.hash, node);
      if (inBuildcache) hashes.add(node.hash);
    }
    return { hashes, nodes };
  }

  /**
   * Writes the index from what is there; packages that the index has already are not read again. The registry knows no
   * conditional writes: of two that write at once the later one wins, and either can be repeated.
   */
  async updateIndex(
    options: { readonly full?: boolean; readonly signal?: AbortSignal } = {},
  ): Promise<{ packages: number; added: number }> {
    const { signal } = options;
    const before = options.full
      ? undefined
      : await this.index(signal).catch((error: unknown) => {
          if (error instanceof BuildcacheError && error.code === 'missing-index') return undefined;
          throw error;
        });
    const nodes = new Map<string, { json: string; edges: string[] }>();
    const present = new Set<string>();
    const limit = pLimit(8);
    const reading: Promise<void>[] = [];
    let added = 0;
    const add = (node: SpecDocument['root']) => {
      if (!nodes.has(node.hash))
        nodes.set(node.hash, { json: JSON.stringify(node.raw), edges: countedEdges(node) });
    };
    const addWithDependencies = (hash: string, all: ReadonlyMap<string, SpecDocument['root']>) => {
      const queue = [hash];
      for (let at = queue.pop(); at !== undefined; at = queue.pop()) {
        const node = all.get(at);
        if (!node || nodes.has(at)) continue;
        add(node);
        queue.push(...node.dependencies.map((edge) => edge.hash));
      }
    };
    for await (const tag of this.tags(signal)) {
      const hash = /-([a-z2-7]{32})\.spack$/.exec(tag)?.[1];
      if (hash && before?.hashes.has(hash)) {
        present.add(hash);
        addWithDependencies(hash, before.nodes);
        continue;
      }
      const job = limit(async () => {
        const one = await this.package(tag, signal);
        if (!one) return;
        present.add(one.hash);
        added++;
        for (const node of one.document.nodes.values()) add(node);
      });
      // Awaited below, all together; a failure before that must not count as unhandled.
      job.catch(() => {});
      reading.push(job);
    }
    await Promise.all(reading);
    const counts = new Map<string, number>();
    for (const { edges } of nodes.values())
      for (const edge of edges) counts.set(edge, (counts.get(edge) ?? 0) + 1);
    const parts: Buffer[] = [databaseFrame.head];
    for (const [hash, { json }] of nodes) {
      parts.push(
        databaseFrame.key(hash, parts.length === 1),
        formatEntry(json, { refCount: counts.get(hash) ?? 0, inBuildcache: present.has(hash) }),
      );
    }
    parts.push(databaseFrame.end);
    const layer = await this.#putBytes(Buffer.concat(parts), mediaTypes.layerGzip, signal);
    const config = await this.#putBytes(
      Buffer.from('{}'),
      'application/vnd.oci.image.config.v1+json',
      signal,
    );
    await this.#putImage(indexTag, config, [layer], undefined, signal);
    return { packages: present.size, added };
  }

  /**
   * Puts packages of a mirror into the registry, dependencies first, each verified by the mirror's policy. The same
   * packages always give the same manifests: no time of the day is written into them.
   */
  async copyFrom(
    mirror: Mirror,
    refs: readonly PackageRef[],
    options: {
      readonly force?: boolean;
      readonly signal?: AbortSignal;
      readonly onProgress?: (done: number, total: number) => void;
    } = {},
  ): Promise<{ copied: PackageRef[]; present: PackageRef[] }> {
    const { signal } = options;
    const copied: PackageRef[] = [];
    const present: PackageRef[] = [];
    const layers = new Map<string, Layer>();
    const wanted = new Map(refs.map((ref) => [ref.hash, ref]));
    // Layers first, manifests after all of them: a manifest names the layers of its dependencies too.
    const limit = pLimit(4);
    const documents = new Map<string, SpecDocument>();
    await Promise.all(
      refs.map((ref) =>
        limit(async () => {
          const there = options.force
            ? undefined
            : await this.package(tagOf(ref), signal).catch(() => undefined);
          const manifest = await mirror.manifest(ref, signal);
          if (there && there.layer.digest === `sha256:${manifest.tarball.checksum}`) {
            layers.set(ref.hash, { descriptor: there.layer, diffId: there.diffId });
            present.push(ref);
            return;
          }
          documents.set(ref.hash, await mirror.spec(manifest, signal));
          const descriptor: Descriptor = {
            mediaType: mediaTypes.layerGzip,
            digest: `sha256:${manifest.tarball.checksum}`,
            size: manifest.tarball.contentLength,
          };
          await this.repository.putBlob(descriptor, () => mirror.tarball(manifest, signal), { signal });
          layers.set(ref.hash, {
            descriptor,
            diffId: await diffIdOf(await mirror.tarball(manifest, signal)),
          });
        }),
      ),
    );
    for (const [hash, document] of documents) {
      const ref = wanted.get(hash)!;
      await this.#tagPackage(ref, document, layers, signal);
      copied.push(ref);
      options.onProgress?.(copied.length + present.length, refs.length);
    }
    return { copied, present };
  }

  /** Brings packages of the registry into a v3 mirror. They carry no signature; `signer` gives them one. */
  async copyTo(
    mirror: Mirror,
    options: { readonly signer?: Signer; readonly signal?: AbortSignal } = {},
  ): Promise<{ copied: PackageRef[]; present: PackageRef[] }> {
    const { signal } = options;
    const copied: PackageRef[] = [];
    const present: PackageRef[] = [];
    for await (const tag of this.tags(signal)) {
      const one = await this.package(tag, signal);
      if (!one) continue;
      const { name, version, hash } = one;
      const ref = { name, version, hash };
      if (await mirror.has(ref, signal)) {
        present.push(ref);
        continue;
      }
      const checksum = one.layer.digest.slice('sha256:'.length);
      const open = () =>
        Readable.from(
          lazily(() => this.tarball(one, signal)),
          { objectMode: false },
        );
      await putBlob(mirror, checksum, { size: one.layer.size, open }, mediaType.tarball, signal);
      const spec = gzipText(one.document.text);
      await putBlob(mirror, sha256(spec), spec, mediaType.spec, signal);
      const manifest = formatManifest({
        version: 3,
        data: [
          record(one.layer.size, mediaType.tarball, 'gzip', checksum),
          record(spec.length, mediaType.spec, 'gzip', sha256(spec)),
        ],
      });
      await preparePush(mirror, options.signer, signal);
      const text = options.signer ? await options.signer.sign(manifest, signal) : manifest;
      await mirror.store.put(v3.spec(ref), Buffer.from(text), { contentType: 'application/json', signal });
      copied.push(ref);
    }
    return { copied, present };
  }

  async #tagPackage(
    ref: PackageRef,
    document: SpecDocument,
    layers: Map<string, Layer>,
    signal?: AbortSignal,
  ): Promise<void> {
    const chain: Layer[] = [];
    for (const node of deepestFirst(document)) {
      let layer = layers.get(node.hash);
      if (!layer) {
        const there = await this.package(tagOf(node), signal).catch(() => undefined);
        if (!there) continue;
        layer = { descriptor: there.layer, diffId: there.diffId };
        layers.set(node.hash, layer);
      }
      chain.push(layer);
    }
    const own = chain.at(-1)!;
    const { spec } = JSON.parse(document.text) as { spec: unknown };
    const { target } = document.root.arch;
    const config = {
      architecture: /^(aarch64|armv8|neoverse|m\d)/.test(target)
        ? 'arm64'
        : /^ppc64le|^power/.test(target)
          ? 'ppc64le'
          : 'amd64',
      os: 'linux',
      rootfs: { type: 'layers', diff_ids: chain.map((layer) => layer.diffId) },
      config: { Env: ['PATH=/bin:/usr/bin'] },
      spec,
      buildcache_layout_version: 3,
      binary_cache_checksum: {
        hash_algorithm: 'sha256',
        hash: own.descriptor.digest.slice('sha256:'.length),
      },
      archive_size: own.descriptor.size,
      // Spack writes the time of the push here, so that no two pushes are alike.
      archive_timestamp: '1970-01-01T00:00:00+00:00',
      archive_compression: 'gzip',
    };
    const bytes = Buffer.from(JSON.stringify(config));
    const descriptor = await this.#putBytes(bytes, 'application/vnd.oci.image.config.v1+json', signal);
    const { platform, os } = document.root.arch;
    const node = format(document.root, '{name}{@versions}{variants}');
    const description = `${node} platform=${platform} os=${os} target=${target}`;
    await this.#putImage(
      tagOf(ref),
      descriptor,
      chain.map((layer) => layer.descriptor),
      { 'org.opencontainers.image.description': description },
      signal,
    );
  }

  async #putImage(
    tag: string,
    config: Descriptor,
    layers: readonly Descriptor[],
    annotations: Record<string, string> | undefined,
    signal?: AbortSignal,
  ): Promise<void> {
    const manifest = {
      mediaType: mediaTypes.manifest,
      schemaVersion: 2,
      config,
      layers,
      ...(annotations ? { annotations } : {}),
    };
    await this.repository.putManifest(
      tag,
      Buffer.from(JSON.stringify(manifest)),
      mediaTypes.manifest,
      signal,
    );
  }

  async #putBytes(bytes: Buffer, type: string, signal?: AbortSignal): Promise<Descriptor> {
    const descriptor: Descriptor = { mediaType: type, digest: digestOf(bytes), size: bytes.length };
    await this.repository.putBlob(descriptor, () => Readable.from([bytes]), { signal });
    return descriptor;
  }
}

interface Layer {
  readonly descriptor: Descriptor;
  readonly diffId: Digest;
}

/** `NAME-VERSION-HASH.spack`, made a valid tag as Spack does. */
export function tagOf(ref: PackageRef): string {
  const tag = `${ref.name}-${ref.version}-${ref.hash}.spack`.replace(/[^\w.-]/g, '_');
  return tag.length > 128 ? tag.slice(0, 64) + tag.slice(-64) : tag;
}

/**
 * The nodes that a package links or runs, each after all that it needs itself, and the package last: Spack's order, which
 * is the reverse of a topological one that goes by breadth, siblings by name.
 */
function deepestFirst(document: SpecDocument): SpecDocument['root'][] {
  const { root, nodes } = document;
  const children = new Map<string, SpecDocument['root'][]>();
  const waiting = new Map<string, number>();
  for (const queue = [root]; queue.length > 0; ) {
    const node = queue.shift()!;
    if (children.has(node.hash)) continue;
    const below = node.dependencies
      .filter((edge) => edge.types.includes('link') || edge.types.includes('run'))
      .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
      .flatMap((edge) => nodes.get(edge.hash) ?? []);
    children.set(node.hash, below);
    for (const child of below) waiting.set(child.hash, (waiting.get(child.hash) ?? 0) + 1);
    queue.push(...below);
  }
  const order: SpecDocument['root'][] = [];
  for (const queue = [root]; queue.length > 0; ) {
    const node = queue.shift()!;
    order.push(node);
    for (const child of children.get(node.hash) ?? []) {
      const left = waiting.get(child.hash)! - 1;
      waiting.set(child.hash, left);
      if (left === 0) queue.push(child);
    }
  }
  return order.reverse().filter((node) => !node.external);
}

async function diffIdOf(tarball: Readable): Promise<Digest> {
  const hash = createHash('sha256');
  const gunzip = createGunzip();
  tarball.on('error', (error) => gunzip.destroy(error));
  for await (const chunk of tarball.pipe(gunzip) as AsyncIterable<Buffer>) hash.update(chunk);
  return `sha256:${hash.digest('hex')}`;
}

async function* lazily(open: () => Promise<Readable>): AsyncGenerator<Buffer> {
  yield* await open();
}
