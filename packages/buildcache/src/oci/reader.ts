import { Readable } from 'node:stream';
import { type Descriptor, type Digest, OciError, type RegistryRepository, readAll } from '@stackwright/oci';
import type { PublicKey } from 'openpgp';
import pLimit from 'p-limit';
import { checkBytes } from '../blob.js';
import { BuildcacheError } from '../error.js';
import { checkIdentity } from '../identity.js';
import { databaseEntries, type ParsedEntry, parseEntry } from '../index/database.js';
import {
  type MirrorIndex,
  type MirrorPackage,
  type MirrorReader,
  type PackageManifest,
  readIndex,
  type SignaturePolicy,
} from '../mirror.js';
import { describe, type PackageRef } from '../package-ref.js';
import type { InspectedPrefix } from '../search-path.js';
import { parseSpecDocument, unpackSpec } from '../spec-document.js';
import type { Statement } from '../statement.js';
import { noViews } from '../unsupported.js';
import { blobOf } from '../v3/manifest.js';
import { specBlob } from '../v3/spec-blob.js';
import { inspectedIn, type OciPackage, parseOciManifest, parseOciPackage } from './package.js';
import { readSigned } from './signed-manifest.js';
import { hashOfTag, indexTag, refOfTag, tagOf } from './tag.js';

/** A package's manifest in a registry, with what the image that holds it tells of its layer. */
export class OciManifest implements PackageManifest {
  readonly name: string;
  readonly version: string;
  readonly hash: string;
  readonly tarball: Descriptor;
  /** The image that holds it. */
  readonly image: Descriptor;
  /** Of the uncompressed tarball. */
  readonly diffId: Digest;
  /** Its folders on search paths; undefined where the image does not tell. */
  readonly inspected: InspectedPrefix | undefined;

  constructor(
    found: OciPackage,
    readonly spec: Descriptor,
    readonly repository: RegistryRepository,
    readonly text: string | undefined,
    readonly signedBy: string | undefined,
    readonly statement: Statement | undefined,
  ) {
    const { name, version, hash, layer } = found;
    this.image = found.image;
    this.name = name;
    this.version = version;
    this.hash = hash;
    this.tarball = layer.descriptor;
    this.diffId = layer.diffId;
    this.inspected = inspectedIn(found);
  }

  get signed(): boolean {
    return this.text !== undefined;
  }
}

/**
 * A build cache in an OCI registry, as Spack lays it out: one tag a package, and the index under `index.spack`. Its
 * packages' signed manifests are referrers of their images; under the policy `unsigned` they are not looked for.
 */
export class OciReader implements MirrorReader {
  readonly canList = true;
  readonly holdsKeys = false;
  readonly viewable = false;
  readonly view = undefined;
  readonly folder = undefined;

  constructor(
    readonly repository: RegistryRepository,
    /** `oci://REGISTRY/REPOSITORY`, or `oci+http://…` for a registry without TLS. */
    readonly url: string,
    readonly policy: SignaturePolicy = { kind: 'unsigned' },
  ) {}

  withPolicy(policy: SignaturePolicy): OciReader {
    return new OciReader(this.repository, this.url, policy);
  }

  withView(view: string | undefined): OciReader {
    if (view !== undefined) throw noViews(this.url, 'is in a registry, which has no index views');
    return this;
  }

  async views(): Promise<string[]> {
    return [];
  }

  /**
   * What a package's tag holds; undefined when there is no such tag.
   * @throws BuildcacheError when it is no package, or not the one that the tag names
   */
  async packageAt(tag: string, signal?: AbortSignal): Promise<OciPackage | undefined> {
    const where = `${this.url}:${tag}`;
    const found = await this.repository.manifest(tag, signal);
    if (!found) return undefined;
    const manifest = parseOciManifest(found.bytes, where);
    const config = await readAll(await this.#blob(manifest.config, where, signal));
    const holds = parseOciPackage(found.descriptor, manifest, config, where);
    if (tagOf(holds) !== tag) {
      throw new BuildcacheError('wrong-package', `${where} has ${describe(holds)} in its place.`, {
        package: describe(holds),
        mirror: this.url,
        key: tag,
        hint: 'Push the package again with --force.',
      });
    }
    checkIdentity(holds, holds.document, { mirror: this.url, key: tag });
    return holds;
  }

  async package(ref: PackageRef, signal?: AbortSignal): Promise<MirrorPackage<OciManifest>> {
    const what = describe(ref);
    const tag = tagOf(ref);
    const found = await this.packageAt(tag, signal);
    if (!found) {
      throw new BuildcacheError('missing-package', `${this.url} has no binary of ${what}.`, {
        package: what,
        mirror: this.url,
        key: tag,
        hint: 'Push it there first.',
      });
    }
    checkIdentity(ref, found.document, { mirror: this.url, key: tag });
    if (this.policy.kind === 'trusted') return this.#signedPackage(ref, found, tag, signal);
    const { document } = found;
    const { bytes: specBytes, descriptor } = specBlob(document.text, what);
    const manifest = new OciManifest(found, descriptor, this.repository, undefined, undefined, undefined);
    return { manifest, document, specBytes };
  }

  /** The package as its signed manifest says it: tarball and spec are those that were signed. */
  async #signedPackage(
    ref: PackageRef,
    found: OciPackage,
    tag: string,
    signal?: AbortSignal,
  ): Promise<MirrorPackage<OciManifest>> {
    const what = describe(ref);
    const place = { policy: this.policy, mirror: this.url, key: tag };
    const signed = await readSigned(this.repository, found.image.digest, ref, place, signal);
    const { tarball, spec } = signed.records;
    const named = blobOf(tarball);
    const { digest, size } = found.layer.descriptor;
    if (named.digest !== digest || named.size !== size) {
      throw new BuildcacheError(
        'checksum',
        `${what}: its image has the layer ${digest}, and ${named.digest} was signed.`,
        {
          package: what,
          mirror: this.url,
          key: tag,
          hint: 'Push the package again with --force.',
        },
      );
    }
    const descriptor = blobOf(spec);
    checkBytes(signed.specBytes, descriptor, what, tag);
    const json = unpackSpec(signed.specBytes, spec.compression, what);
    const document = parseSpecDocument(json.toString('utf8'), what);
    checkIdentity(ref, document, { mirror: this.url, key: tag });
    const { text, signedBy, statement, specBytes } = signed;
    const manifest = new OciManifest(found, descriptor, this.repository, text, signedBy, statement);
    return { manifest, document, specBytes };
  }

  async has(ref: PackageRef, signal?: AbortSignal): Promise<boolean> {
    return (await this.repository.head(tagOf(ref), signal)) !== undefined;
  }

  tarball(manifest: PackageManifest, signal?: AbortSignal): Promise<Readable> {
    return this.#blob(manifest.tarball, describe(manifest), signal);
  }

  /** Tags that are packages, their hash with them. */
  async *tags(signal?: AbortSignal): AsyncGenerator<{ readonly tag: string; readonly hash: string }> {
    for await (const tag of this.repository.tags(signal)) {
      const hash = hashOfTag(tag);
      if (hash) yield { tag, hash };
    }
  }

  /** Names and versions come from the index, and from the packages that it lacks: a tag alone does not tell them. */
  async *packages(signal?: AbortSignal): AsyncGenerator<PackageRef> {
    const known = await this.index(signal).catch((error: unknown) => {
      if (error instanceof BuildcacheError) return undefined;
      throw error;
    });
    const limit = pLimit(8);
    const unknown: Promise<PackageRef | undefined>[] = [];
    const read = async (tag: string): Promise<PackageRef | undefined> => {
      try {
        return await this.packageAt(tag, signal);
      } catch (error) {
        // Broken, but there: whoever asks for its manifest hears why.
        if (error instanceof BuildcacheError) return refOfTag(tag);
        throw error;
      }
    };
    for await (const { tag, hash } of this.tags(signal)) {
      const node = known?.nodes.get(hash);
      if (node) yield { name: node.name, version: node.version, hash };
      else unknown.push(limit(() => read(tag)));
    }
    // All are waited for: one that fails must not leave others that fail unheard.
    for (const one of await Promise.allSettled(unknown)) {
      if (one.status === 'rejected') throw one.reason;
      if (one.value) yield { name: one.value.name, version: one.value.version, hash: one.value.hash };
    }
  }

  async hasIndex(signal?: AbortSignal): Promise<boolean> {
    return (await this.repository.head(indexTag, signal)) !== undefined;
  }

  /** What the index's tag names; undefined when there is none. */
  async indexLayer(signal?: AbortSignal): Promise<Descriptor | undefined> {
    const found = await this.repository.manifest(indexTag, signal);
    return found && parseOciManifest(found.bytes, `${this.url}:${indexTag}`).layers[0];
  }

  async signedIndex(): Promise<undefined> {}

  async *indexEntries(signal?: AbortSignal): AsyncGenerator<ParsedEntry> {
    const layer = await this.indexLayer(signal);
    if (!layer) {
      throw new BuildcacheError('missing-index', `${this.url} has no index.`, {
        mirror: this.url,
        hint: `Write one with: stackwright mirror index ${this.url}`,
      });
    }
    const stream = await this.#blob(layer, 'the index', signal);
    for await (const entry of databaseEntries(stream, `${this.url}: the index`))
      yield parseEntry(entry, this.url);
  }

  index(signal?: AbortSignal): Promise<MirrorIndex> {
    return readIndex(this, signal);
  }

  async publishedKeys(): Promise<PublicKey[]> {
    return [];
  }

  async close(): Promise<void> {}

  /** A blob whose errors are those of a mirror. */
  async #blob(descriptor: Descriptor, what: string, signal?: AbortSignal): Promise<Readable> {
    const translated = (error: unknown) => {
      if (!(error instanceof OciError) || error.kind !== 'input') return error;
      const code = error.details.status === 404 ? 'missing-blob' : 'checksum';
      const details = { package: what, mirror: this.url, key: descriptor.digest };
      return new BuildcacheError(code, `${what}: ${error.message}`, details, { cause: error });
    };
    const source = await this.repository.blob(descriptor, signal).catch((error) => {
      throw translated(error);
    });
    const bytes = async function* () {
      try {
        yield* source;
      } catch (error) {
        throw translated(error);
      }
    };
    return Readable.from(bytes(), { objectMode: false });
  }
}
