import type { Readable } from 'node:stream';
import { type Descriptor, mediaTypes } from '@stackwright/oci';
import { isNotFound, type ObjectStore } from '@stackwright/storage';
import type { PublicKey } from 'openpgp';
import pLimit from 'p-limit';
import { Verified } from '../blob.js';
import { BuildcacheError } from '../error.js';
import { checkIdentity } from '../identity.js';
import { databaseEntries, type ParsedEntry, parseEntry } from '../index/database.js';
import {
  type MirrorIndex,
  type MirrorPackage,
  type PackageManifest,
  readIndex,
  type SignaturePolicy,
} from '../mirror.js';
import type { Mirror } from '../mirror-writer.js';
import { describe, type PackageRef } from '../package-ref.js';
import { readPublicKeys } from '../sign/key.js';
import { parseSpecDocument } from '../spec-document.js';
import { checkStatedTime } from '../statement.js';
import { noViews, unsupported } from '../unsupported.js';
import { specBlob } from '../v3/spec-blob.js';
import { readV2Package, type V2Package, v2Keys, v2Packages, v3SpecText } from './package.js';

const indexKey = 'build_cache/index.json';

/** A package's manifest of layout v2: what its spec says, which is what is signed there. */
class V2Manifest implements PackageManifest {
  /** What a signature vouches for in layout v2 is not what it would vouch for in another layout. */
  readonly signed = false;
  readonly signedBy = undefined;
  readonly statement = undefined;
  readonly text = undefined;

  constructor(
    readonly name: string,
    readonly version: string,
    readonly hash: string,
    readonly tarball: Descriptor,
    readonly spec: Descriptor,
    readonly tarballKey: string,
  ) {}
}

/** A mirror of layout v2 (Spack 0.18 to 0.23): it can be read only. */
export class V2Mirror implements Mirror {
  readonly url: string;
  readonly canList = true;
  readonly folder = undefined;
  readonly writable = false;
  readonly holdsKeys = true;
  readonly viewable = false;
  readonly view = undefined;
  #packages: Promise<ReadonlyMap<string, V2Package>> | undefined;

  constructor(
    readonly store: ObjectStore,
    readonly policy: SignaturePolicy,
  ) {
    this.url = store.url;
  }

  withPolicy(policy: SignaturePolicy): V2Mirror {
    return new V2Mirror(this.store, policy);
  }

  withView(view: string | undefined): V2Mirror {
    if (view !== undefined) throw noViews(this.url, 'has the old layout v2, which has no index views');
    return this;
  }

  async views(): Promise<string[]> {
    return [];
  }

  async package(ref: PackageRef, signal?: AbortSignal): Promise<MirrorPackage<V2Manifest>> {
    const what = describe(ref);
    const found = (await this.#listed(signal)).get(ref.hash);
    if (!found) {
      throw new BuildcacheError('missing-package', `${this.url} has no binary of ${what}.`, {
        package: what,
        mirror: this.url,
      });
    }
    const read = await readV2Package(this.store, found, this.policy, signal);
    checkIdentity(ref, read.document, { mirror: this.url, key: found.specKey });
    if (this.policy.kind === 'trusted') checkStatedTime(undefined, this.policy.notBefore, what);
    const size = (await this.store.head(read.tarballKey, { signal }))?.size;
    if (!size) throw this.#missingTarball(what, read.tarballKey);
    const document = parseSpecDocument(v3SpecText(read.document), what);
    const { bytes: specBytes, descriptor: spec } = specBlob(document.text, what);
    const tarball = { mediaType: mediaTypes.layerGzip, digest: read.digest, size };
    const { name, version, hash } = document.root;
    const manifest = new V2Manifest(name, version, hash, tarball, spec, read.tarballKey);
    return { manifest, document, specBytes };
  }

  async has(ref: PackageRef, signal?: AbortSignal): Promise<boolean> {
    return (await this.#listed(signal)).has(ref.hash);
  }

  async tarball(manifest: PackageManifest, signal?: AbortSignal): Promise<Readable> {
    const what = describe(manifest);
    const { tarball, tarballKey } =
      manifest instanceof V2Manifest ? manifest : (await this.package(manifest, signal)).manifest;
    const { body } = await this.store.get(tarballKey, { signal }).catch((error: unknown) => {
      throw isNotFound(error) ? this.#missingTarball(what, tarballKey) : error;
    });
    const verified = new Verified(tarball, what, tarballKey);
    body.on('error', (error) => verified.destroy(error));
    verified.on('close', () => body.destroy());
    return body.pipe(verified);
  }

  /** Names and versions come from the index, and from the specs of what it lacks. */
  async *packages(signal?: AbortSignal): AsyncGenerator<PackageRef> {
    const nodes = (await this.hasIndex(signal)) ? (await this.index(signal)).nodes : new Map();
    const limit = pLimit(8);
    const listed = [...(await this.#listed(signal)).values()];
    const refs = listed.map(async (found): Promise<PackageRef> => {
      const node = nodes.get(found.hash);
      if (node) return node;
      const read = () => readV2Package(this.store, found, { kind: 'unsigned' }, signal);
      return (await limit(read)).document.root;
    });
    for (const { name, version, hash } of await Promise.all(refs)) yield { name, version, hash };
  }

  async hasIndex(signal?: AbortSignal): Promise<boolean> {
    return (await this.store.head(indexKey, { signal })) !== undefined;
  }

  async signedIndex(): Promise<undefined> {}

  async *indexEntries(signal?: AbortSignal): AsyncGenerator<ParsedEntry> {
    const { body } = await this.store.get(indexKey, { signal });
    for await (const entry of databaseEntries(body, `${this.url}/${indexKey}`))
      yield parseEntry(entry, this.url);
  }

  index(signal?: AbortSignal): Promise<MirrorIndex> {
    return readIndex(this, signal);
  }

  async publishedKeys(signal?: AbortSignal): Promise<PublicKey[]> {
    const texts = await v2Keys(this.store, signal);
    return (await Promise.all(texts.map((text) => readPublicKeys(text, this.url)))).flat();
  }

  async push(): Promise<never> {
    throw this.#readOnly();
  }

  async pushAll(): Promise<never> {
    throw this.#readOnly();
  }

  async copyFrom(): Promise<never> {
    throw this.#readOnly();
  }

  async sign(): Promise<never> {
    throw this.#readOnly();
  }

  async publishKey(): Promise<never> {
    throw this.#readOnly();
  }

  async updateKeyIndex(): Promise<never> {
    throw this.#readOnly();
  }

  async updateIndex(): Promise<never> {
    throw this.#readOnly();
  }

  async removeView(): Promise<never> {
    throw this.#readOnly();
  }

  async planPrune(): Promise<never> {
    throw this.#readOnly();
  }

  async prune(): Promise<never> {
    throw this.#readOnly();
  }

  close(): Promise<void> {
    return this.store.close();
  }

  #listed(signal?: AbortSignal): Promise<ReadonlyMap<string, V2Package>> {
    this.#packages ??= v2Packages(this.store, signal).then(
      (all) => new Map(all.map((found) => [found.hash, found])),
    );
    return this.#packages;
  }

  #readOnly(): BuildcacheError {
    return unsupported(
      this.url,
      'has the old layout v2, which can be read only',
      'Migrate it with: stackwright mirror migrate URL',
    );
  }

  #missingTarball(what: string, key: string): BuildcacheError {
    return new BuildcacheError('missing-blob', `${what}: ${this.url} lacks ${key}.`, {
      package: what,
      mirror: this.url,
      key,
    });
  }
}
