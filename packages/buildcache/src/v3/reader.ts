import type { Readable } from 'node:stream';
import type { Descriptor } from '@stackwright/oci';
import {
  FolderStore,
  isNotFound,
  type ObjectInfo,
  type ObjectStore,
  readObject,
  StorageError,
} from '@stackwright/storage';
import type { PublicKey } from 'openpgp';
import { checkBytes, Verified } from '../blob.js';
import { BuildcacheError } from '../error.js';
import { checkIdentity } from '../identity.js';
import { databaseEntries, type ParsedEntry, parseEntry } from '../index/database.js';
import type { IndexStatement, SignedIndex } from '../index/index-statement.js';
import {
  type MirrorIndex,
  type MirrorPackage,
  type MirrorReader,
  type PackageManifest,
  readIndex,
  type SignaturePolicy,
} from '../mirror.js';
import { describe, type PackageRef } from '../package-ref.js';
import { fingerprintOf, parseKeyIndex, readPublicKeys } from '../sign/key.js';
import { isSigned, signedText, verifySigned } from '../sign/signature.js';
import { parseSpecDocument, unpackSpec } from '../spec-document.js';
import type { Statement } from '../statement.js';
import {
  type DatabaseVersion,
  databaseType,
  isDatabaseType,
  isViewName,
  mediaType,
  packageOfKey,
  v3,
  viewOfKey,
} from './layout.js';
import {
  type BlobRecord,
  blobOf,
  findRecord,
  type Manifest,
  parseManifest,
  readManifest,
} from './manifest.js';
import { readRecords } from './package-records.js';

/** A package's manifest of layout v3. */
export class V3Manifest implements PackageManifest {
  readonly name: string;
  readonly version: string;
  readonly hash: string;

  constructor(
    ref: PackageRef,
    readonly key: string,
    /** The manifest as it lies in the mirror. */
    readonly text: string,
    readonly etag: string | undefined,
    readonly signedBy: string | undefined,
    readonly statement: Statement | undefined,
    private readonly records: { readonly tarball: BlobRecord; readonly spec: BlobRecord },
  ) {
    this.name = ref.name;
    this.version = ref.version;
    this.hash = ref.hash;
  }

  get tarball(): Descriptor {
    return blobOf(this.records.tarball);
  }

  get spec(): Descriptor {
    return blobOf(this.records.spec);
  }

  get specCompression(): BlobRecord['compression'] {
    return this.records.spec.compression;
  }

  get signed(): boolean {
    return isSigned(this.text);
  }
}

/** What the index's manifest names. */
export interface IndexManifest {
  readonly databases: ReadonlyMap<DatabaseVersion, Descriptor>;
  /** Databases of versions that are not known here, which others wrote. */
  readonly others: readonly BlobRecord[];
  readonly etag: string | undefined;
  /** The manifest as it lies in the mirror. */
  readonly text: string;
  /** What it says of itself; worth no more than the signature over it. */
  readonly statement: IndexStatement | undefined;
}

/** Newest first. */
export const databaseVersions: readonly DatabaseVersion[] = [9, 8];

/** Bytes that a spec, a key or an index of keys may have at most. */
const smallLimit = 64 * 1024 * 1024;

/** A mirror of layout v3 in some store, to read. */
export class V3Reader implements MirrorReader {
  readonly holdsKeys = true;
  readonly viewable = true;
  readonly url: string;

  /** @throws BuildcacheError `view-name` */
  constructor(
    readonly store: ObjectStore,
    readonly policy: SignaturePolicy,
    readonly view: string | undefined = undefined,
  ) {
    this.url = store.url;
    if (view !== undefined && !isViewName(view)) {
      throw new BuildcacheError('view-name', `${JSON.stringify(view)} cannot name an index view.`, {
        mirror: this.url,
        hint: 'Use letters, digits, "_", ".", "+" and "-".',
      });
    }
  }

  get canList(): boolean {
    return this.store.canList;
  }

  get folder(): string | undefined {
    return this.store instanceof FolderStore ? this.store.root : undefined;
  }

  withPolicy(policy: SignaturePolicy): V3Reader {
    return new V3Reader(this.store, policy, this.view);
  }

  withView(view: string | undefined): V3Reader {
    return new V3Reader(this.store, this.policy, view);
  }

  async views(signal?: AbortSignal): Promise<string[]> {
    if (!this.store.canList) return [];
    const names: string[] = [];
    for await (const { key } of this.store.list(v3.indexes, { signal, keysOnly: true })) {
      const name = viewOfKey(key);
      if (name !== undefined) names.push(name);
    }
    return names.sort();
  }

  /** The key of the manifest of the index, or of the view that is read instead. */
  get indexKey(): string {
    return this.view === undefined ? v3.index : v3.view(this.view);
  }

  async package(ref: PackageRef, signal?: AbortSignal): Promise<MirrorPackage<V3Manifest>> {
    const manifest = await this.manifestAt(v3.spec(ref), ref, signal);
    const what = describe(ref);
    const specBytes = await this.smallBlob(manifest.spec, what, signal);
    const json = unpackSpec(specBytes, manifest.specCompression, what);
    const document = parseSpecDocument(json.toString('utf8'), what);
    checkIdentity(ref, document, { mirror: this.url, key: manifest.key });
    return { manifest, document, specBytes };
  }

  /** A manifest whose package is not checked yet: only for those who check it themselves. */
  async manifestAt(key: string, ref: PackageRef, signal?: AbortSignal): Promise<V3Manifest> {
    const what = describe(ref);
    let read: { bytes: Buffer; info: ObjectInfo };
    try {
      read = await readManifest(this.store, key, signal);
    } catch (error) {
      if (!isNotFound(error)) throw error;
      throw new BuildcacheError('missing-package', `${this.url} has no binary of ${what}.`, {
        package: what,
        mirror: this.url,
        key,
        hint: 'Push it there first.',
      });
    }
    const text = read.bytes.toString('utf8');
    const { signedBy, statement, records } = await readRecords(text, ref, {
      policy: this.policy,
      mirror: this.url,
      key,
    });
    return new V3Manifest(ref, key, text, read.info.etag, signedBy, statement, records);
  }

  async has(ref: PackageRef, signal?: AbortSignal): Promise<boolean> {
    return (await this.store.head(v3.spec(ref), { signal })) !== undefined;
  }

  /** A blob's bytes as stored; the stream fails at its end unless length and digest are right. */
  async blob(blob: Descriptor, what: string, signal?: AbortSignal): Promise<Readable> {
    const key = v3.blob(blob.digest);
    let body: Readable;
    try {
      ({ body } = await this.store.get(key, { signal }));
    } catch (error) {
      if (!isNotFound(error)) throw error;
      throw this.#missingBlob(what, key);
    }
    const verified = new Verified(blob, what, key);
    body.on('error', (error) => verified.destroy(error));
    verified.on('close', () => body.destroy());
    return body.pipe(verified);
  }

  /** A blob that is small by its nature, whole and verified. */
  async smallBlob(blob: Descriptor, what: string, signal?: AbortSignal): Promise<Buffer> {
    const key = v3.blob(blob.digest);
    const refuse = (why: string): never => {
      throw new BuildcacheError('length', `${what}: ${key} ${why}.`, {
        package: what,
        mirror: this.url,
        key,
        hint: 'The blob or its manifest is broken or forged: push the package again.',
      });
    };
    if (blob.size > smallLimit) refuse(`would have ${blob.size} bytes`);
    try {
      const { bytes } = await readObject(this.store, key, blob.size, signal);
      checkBytes(bytes, blob, what, key);
      return bytes;
    } catch (error) {
      if (isNotFound(error)) throw this.#missingBlob(what, key);
      if (error instanceof StorageError && error.code === 'invalid')
        refuse(`has more than ${blob.size} bytes, which its manifest says`);
      throw error;
    }
  }

  tarball(manifest: PackageManifest, signal?: AbortSignal): Promise<Readable> {
    return this.blob(manifest.tarball, describe(manifest), signal);
  }

  /** The JSON of the spec that a manifest names, verified and unpacked. */
  async specJson(manifest: V3Manifest, signal?: AbortSignal): Promise<Buffer> {
    const what = describe(manifest);
    const bytes = await this.smallBlob(manifest.spec, what, signal);
    return unpackSpec(bytes, manifest.specCompression, what);
  }

  /** Every package whose manifest is in the mirror, from a listing of keys. */
  async *packages(signal?: AbortSignal): AsyncGenerator<PackageRef & { readonly info: ObjectInfo }> {
    for await (const info of this.store.list(v3.specs, { signal, keysOnly: true })) {
      const ref = packageOfKey(info.key);
      if (ref) yield { ...ref, info };
    }
  }

  /** The index's manifest; undefined for a mirror without index. */
  async indexManifest(signal?: AbortSignal): Promise<IndexManifest | undefined> {
    const found = await this.#published(this.indexKey, signal);
    if (!found) return undefined;
    const { data } = found.manifest;
    const databases = new Map<DatabaseVersion, Descriptor>();
    for (const version of databaseVersions) {
      const record = data.find((one) => one.mediaType === databaseType(version));
      if (record) databases.set(version, blobOf(record));
    }
    const known = databaseVersions.map(databaseType);
    const others = data.filter((one) => !known.includes(one.mediaType));
    if (databases.size > 0 || others.some((one) => isDatabaseType(one.mediaType)))
      return {
        databases,
        others,
        etag: found.etag,
        text: found.text,
        statement: found.manifest.stackwrightIndex,
      };
    const where = `${this.url}/${this.indexKey}`;
    throw new BuildcacheError('manifest', `${where}: the manifest names no index.`, {
      key: this.indexKey,
    });
  }

  async hasIndex(signal?: AbortSignal): Promise<boolean> {
    return ((await this.indexManifest(signal))?.databases.size ?? 0) > 0;
  }

  async signedIndex(signal?: AbortSignal): Promise<SignedIndex | undefined> {
    if (this.policy.kind !== 'trusted') return undefined;
    const index = await this.indexManifest(signal);
    if (!index || !isSigned(index.text)) return undefined;
    const where = `${this.url}/${this.indexKey}`;
    const { fingerprint } = await verifySigned(index.text, this.policy.trust, where, this.policy);
    return index.statement && { ...index.statement, signedBy: fingerprint };
  }

  async *indexEntries(signal?: AbortSignal): AsyncGenerator<ParsedEntry> {
    const stream = await this.indexStream(signal);
    for await (const entry of databaseEntries(stream, `${this.url}: the index`)) {
      yield parseEntry(entry, this.url);
    }
  }

  /** The index's bytes, verified while they stream: of this version, or of the newest that can be read. */
  async indexStream(signal?: AbortSignal, version?: DatabaseVersion): Promise<Readable> {
    // The index may be replaced, and the old blob collected, between the two reads.
    for (let attempt = 1; ; attempt++) {
      const { databases } = (await this.indexManifest(signal)) ?? { databases: new Map() };
      const newest = databaseVersions.find((version) => databases.has(version));
      const database = version ?? newest;
      const blob = database && databases.get(database);
      if (!blob) throw await this.#missingIndex(signal);
      try {
        return await this.blob(blob, 'the index', signal);
      } catch (error) {
        if (attempt === 3 || !(error instanceof BuildcacheError) || error.code !== 'missing-blob')
          throw error;
      }
    }
  }

  index(signal?: AbortSignal): Promise<MirrorIndex> {
    return readIndex(this, signal);
  }

  async publishedKeys(signal?: AbortSignal): Promise<PublicKey[]> {
    const fingerprints = new Set<string>();
    const index = await this.#published(v3.keyIndex, signal);
    if (index) {
      const record = blobOf(findRecord(index.manifest, [mediaType.keyIndex], v3.keyIndex));
      const text = (await this.smallBlob(record, 'the key index', signal)).toString('utf8');
      for (const fingerprint of parseKeyIndex(text, `${this.url}/${v3.keyIndex}`))
        fingerprints.add(fingerprint);
    }
    if (this.store.canList) {
      for await (const { key } of this.store.list(v3.keys, { signal })) {
        const match = /\/([0-9A-F]{40})\.key\.manifest\.json$/i.exec(key);
        if (match) fingerprints.add(match[1]!);
      }
    }
    const keys: PublicKey[] = [];
    for (const fingerprint of [...fingerprints].sort()) {
      const found = /^[0-9A-F]{16,40}$/i.test(fingerprint)
        ? await this.#published(v3.key(fingerprint), signal)
        : undefined;
      if (!found) continue;
      const record = blobOf(findRecord(found.manifest, [mediaType.key], v3.key(fingerprint)));
      const text = (await this.smallBlob(record, `key ${fingerprint}`, signal)).toString('utf8');
      for (const key of await readPublicKeys(text, `${this.url}/${v3.key(fingerprint)}`)) {
        if (fingerprintOf(key) === fingerprint.toUpperCase()) keys.push(key);
      }
    }
    return keys;
  }

  close(): Promise<void> {
    return this.store.close();
  }

  async #missingIndex(signal?: AbortSignal): Promise<BuildcacheError> {
    if (this.view === undefined) {
      return new BuildcacheError('missing-index', `${this.url} has no index.`, {
        mirror: this.url,
        hint: 'Write one with: stackwright mirror index URL',
      });
    }
    const others = await this.views(signal);
    return new BuildcacheError('missing-view', `${this.url} has no index view "${this.view}".`, {
      mirror: this.url,
      key: this.indexKey,
      hint:
        others.length > 0
          ? `It has: ${others.join(', ')}.`
          : 'Write it with: stackwright mirror index URL --view NAME SPEC…',
    });
  }

  #missingBlob(what: string, key: string): BuildcacheError {
    return new BuildcacheError('missing-blob', `${what}: ${this.url} lacks the blob ${key}.`, {
      package: what,
      mirror: this.url,
      key,
      hint: 'Push the package again.',
    });
  }

  async #published(
    key: string,
    signal?: AbortSignal,
  ): Promise<{ manifest: Manifest; etag: string | undefined; text: string } | undefined> {
    try {
      const { bytes, info } = await readManifest(this.store, key, signal);
      const where = `${this.url}/${key}`;
      const text = bytes.toString('utf8');
      return { manifest: parseManifest(signedText(text, where), where), etag: info.etag, text };
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }
}
