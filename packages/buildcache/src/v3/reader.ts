import type { Readable } from 'node:stream';
import type { ConcreteNode } from '@stackwright/spack-env';
import {
  FolderStore,
  isNotFound,
  type ObjectInfo,
  type ObjectStore,
  type OpenOptions,
  openStore,
  readObject,
  StorageError,
} from '@stackwright/storage';
import type { PublicKey } from 'openpgp';
import { checkBytes, Verified } from '../blob.js';
import { BuildcacheError } from '../error.js';
import { checkIdentity } from '../identity.js';
import { databaseEntries, type ParsedEntry, parseEntry } from '../index/database.js';
import { type MirrorPackage, type PackageMirror, readIndex } from '../mirror.js';
import { describe, mediaType, type PackageRef, packageOfKey, v3 } from '../package-ref.js';
import { fingerprintOf, parseKeyIndex, readPublicKeys } from '../sign/key.js';
import { signedText, Trust, type VerifyOptions, verifySigned } from '../sign/signature.js';
import { parseSpecDocument, unpackSpec } from '../spec-document.js';
import { type BlobRecord, type Manifest, parseManifest, readManifest, recordOf } from './manifest.js';

/**
 * Whose packages are taken: `trusted`, those signed by a key of `trust`; `unsigned`, all, checked by checksum only.
 */
export type SignaturePolicy =
  | ({ readonly kind: 'trusted'; readonly trust: Trust } & Omit<VerifyOptions, 'date'>)
  | { readonly kind: 'unsigned' };

/** A package's manifest, read and checked. */
export interface PackageManifest extends PackageRef {
  readonly key: string;
  readonly tarball: BlobRecord;
  readonly spec: BlobRecord;
  /** The fingerprint of the trusted key that signed it; undefined when signatures were not looked at. */
  readonly signedBy: string | undefined;
  readonly signed: boolean;
  /** The manifest as it lies in the mirror. */
  readonly text: string;
  readonly etag: string | undefined;
}

/** What a mirror's index says. */
export interface MirrorIndex {
  /** Hashes of the packages whose binaries are in the mirror. */
  readonly hashes: ReadonlySet<string>;
  /** Every node of the index by hash, those without a binary too. */
  readonly nodes: ReadonlyMap<string, ConcreteNode>;
}

export interface OpenMirrorOptions extends OpenOptions {
  /** `unsigned` when left out together with `trust`. */
  readonly policy?: SignaturePolicy;
  /** Refuse an address where no mirror is; else a new, empty one is no error. */
  readonly existing?: boolean;
  readonly signal?: AbortSignal;
}

/** Bytes that a spec, a key or an index of keys may have at most. */
const smallLimit = 64 * 1024 * 1024;

/** A build cache of layout v3 in some store. */
export class Mirror implements PackageMirror {
  readonly url: string;

  constructor(
    readonly store: ObjectStore,
    readonly policy: SignaturePolicy,
  ) {
    this.url = store.url;
  }

  get canList(): boolean {
    return this.store.canList;
  }

  withPolicy(policy: SignaturePolicy): Mirror {
    return new Mirror(this.store, policy);
  }

  async package(ref: PackageRef, signal?: AbortSignal): Promise<MirrorPackage> {
    const manifest = await this.manifestAt(v3.spec(ref), ref, signal);
    const what = describe(ref);
    const specBytes = await this.smallBlob(manifest.spec, what, signal);
    const json = unpackSpec(specBytes, manifest.spec.compression, what);
    const document = parseSpecDocument(json.toString('utf8'), what);
    checkIdentity(ref, document, { mirror: this.url, key: manifest.key });
    return { manifest, document, specBytes };
  }

  /** A manifest whose package is not checked yet: only for those who check it themselves. */
  async manifestAt(key: string, ref: PackageRef, signal?: AbortSignal): Promise<PackageManifest> {
    const what = describe(ref);
    let read: { bytes: Buffer; info: ObjectInfo };
    try {
      read = await readManifest(this.store, key, signal);
    } catch (error) {
      if (!isNotFound(error)) throw error;
      throw new BuildcacheError('missing', 'missing-package', `${this.url} has no binary of ${what}.`, {
        package: what,
        mirror: this.url,
        key,
        hint: 'Push it there first.',
      });
    }
    const text = read.bytes.toString('utf8');
    const where = `${what} (${key.split('/').at(-1)})`;
    const checked =
      this.policy.kind === 'trusted'
        ? await verifySigned(text, this.policy.trust, where, this.policy)
        : { text: signedText(text, where), fingerprint: undefined };
    const manifest = parseManifest(checked.text, where);
    return {
      name: ref.name,
      version: ref.version,
      hash: ref.hash,
      key,
      tarball: recordOf(manifest, mediaType.tarball, where),
      spec: recordOf(manifest, mediaType.spec, where),
      signedBy: checked.fingerprint,
      signed: text.startsWith('-----BEGIN PGP SIGNED'),
      text,
      etag: read.info.etag,
    };
  }

  async has(ref: PackageRef, signal?: AbortSignal): Promise<boolean> {
    return (await this.store.head(v3.spec(ref), { signal })) !== undefined;
  }

  /** A blob's bytes as stored; the stream fails at its end unless length and checksum are those of the record. */
  async blob(record: BlobRecord, what: string, signal?: AbortSignal): Promise<Readable> {
    const key = v3.blob(record.checksum);
    let body: Readable;
    try {
      ({ body } = await this.store.get(key, { signal }));
    } catch (error) {
      if (!isNotFound(error)) throw error;
      throw this.#missingBlob(what, key);
    }
    const verified = new Verified(record, what, key);
    body.on('error', (error) => verified.destroy(error));
    verified.on('close', () => body.destroy());
    return body.pipe(verified);
  }

  /** A blob that is small by its nature, whole and verified. */
  async smallBlob(record: BlobRecord, what: string, signal?: AbortSignal): Promise<Buffer> {
    const key = v3.blob(record.checksum);
    const refuse = (why: string): never => {
      throw new BuildcacheError('input', 'length', `${what}: ${key} ${why}.`, {
        package: what,
        mirror: this.url,
        key,
        hint: 'The blob or its manifest is broken or forged: push the package again.',
      });
    };
    if (record.contentLength > smallLimit) refuse(`would have ${record.contentLength} bytes`);
    try {
      const { bytes } = await readObject(this.store, key, record.contentLength, signal);
      checkBytes(bytes, record, what, key);
      return bytes;
    } catch (error) {
      if (isNotFound(error)) throw this.#missingBlob(what, key);
      if (error instanceof StorageError && error.code === 'invalid')
        refuse(`has more than ${record.contentLength} bytes, which its manifest says`);
      throw error;
    }
  }

  tarball(manifest: PackageManifest, signal?: AbortSignal): Promise<Readable> {
    return this.blob(manifest.tarball, describe(manifest), signal);
  }

  /** The JSON of the spec that a manifest names, verified and unpacked. */
  async specJson(manifest: PackageManifest, signal?: AbortSignal): Promise<Buffer> {
    const what = describe(manifest);
    const bytes = await this.smallBlob(manifest.spec, what, signal);
    return unpackSpec(bytes, manifest.spec.compression, what);
  }

  /** Every package whose manifest is in the mirror, from a listing of keys. */
  async *packages(signal?: AbortSignal): AsyncGenerator<PackageRef & { readonly info: ObjectInfo }> {
    for await (const info of this.store.list(v3.specs, { signal, keysOnly: true })) {
      const ref = packageOfKey(info.key);
      if (ref) yield { ...ref, info };
    }
  }

  /** The index's manifest; undefined for a mirror without index. */
  async indexManifest(
    signal?: AbortSignal,
  ): Promise<{ record: BlobRecord; etag: string | undefined } | undefined> {
    const found = await this.#published(v3.index, signal);
    if (!found) return undefined;
    const where = `${this.url}/${v3.index}`;
    const record = found.manifest.data.find((one) =>
      /^application\/vnd\.spack\.db\.v\d+\+json$/.test(one.mediaType),
    );
    if (!record)
      throw new BuildcacheError('input', 'manifest', `${where}: the manifest names no index.`, {
        key: v3.index,
      });
    return { record, etag: found.etag };
  }

  async hasIndex(signal?: AbortSignal): Promise<boolean> {
    return (await this.indexManifest(signal)) !== undefined;
  }

  async *indexEntries(signal?: AbortSignal): AsyncGenerator<ParsedEntry> {
    const stream = await this.indexStream(signal);
    for await (const entry of databaseEntries(stream, `${this.url}: the index`)) {
      yield parseEntry(entry, this.url);
    }
  }

  /** The index's bytes, verified while they stream. */
  async indexStream(signal?: AbortSignal): Promise<Readable> {
    // The index may be replaced, and the old blob collected, between the two reads.
    for (let attempt = 1; ; attempt++) {
      const current = await this.indexManifest(signal);
      if (!current) {
        throw new BuildcacheError('missing', 'missing-index', `${this.url} has no index.`, {
          mirror: this.url,
          hint: 'Write one with: stackwright mirror index URL',
        });
      }
      try {
        return await this.blob(current.record, 'the index', signal);
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
      const record = recordOf(index.manifest, mediaType.keyIndex, v3.keyIndex);
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
      const record = recordOf(found.manifest, mediaType.key, v3.key(fingerprint));
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

  #missingBlob(what: string, key: string): BuildcacheError {
    return new BuildcacheError('input', 'missing-blob', `${what}: ${this.url} lacks the blob ${key}.`, {
      package: what,
      mirror: this.url,
      key,
      hint: 'Push the package again.',
    });
  }

  async #published(
    key: string,
    signal?: AbortSignal,
  ): Promise<{ manifest: Manifest; etag: string | undefined } | undefined> {
    try {
      const { bytes, info } = await readManifest(this.store, key, signal);
      const where = `${this.url}/${key}`;
      return {
        manifest: parseManifest(signedText(bytes.toString('utf8'), where), where),
        etag: info.etag,
      };
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }
}

/**
 * Opens a mirror by its URL: a path, `file://`, `s3://` or `http(s)://`.
 * @throws BuildcacheError `layout` for one of the old layout v2; with `existing`, `not-a-mirror` where nothing has been
 *   pushed yet
 */
export async function openMirror(url: string, options: OpenMirrorOptions = {}): Promise<Mirror> {
  const store = await openStore(url, options);
  const mirror = new Mirror(store, options.policy ?? { kind: 'unsigned' });
  // Read, not asked for with HEAD: only then do servers say what is wrong with a bucket or a credential.
  const has = async (key: string) => {
    try {
      await readManifest(store, key, options.signal);
      return true;
    } catch (error) {
      if (isNotFound(error)) return false;
      throw error;
    }
  };
  if (await has(v3.layout)) return mirror;
  if (await store.head('build_cache/index.json', options)) {
    throw new BuildcacheError('input', 'layout', `${store.url} has the old layout v2.`, {
      mirror: store.url,
      hint: 'Migrate it with: stackwright mirror migrate URL',
    });
  }
  if (!options.existing) return mirror;
  throw new BuildcacheError('missing', 'not-a-mirror', `${store.url} is no mirror: it has no ${v3.layout}.`, {
    mirror: store.url,
    hint: 'Check the address. The first push to it makes it a mirror.',
  });
}

/**
 * The keys to trust: those in files or texts, and the mirror's own where asked.
 * @param only fingerprints; of all those keys, trust only these
 */
export async function trustOf(options: {
  readonly keys?: readonly { readonly text: string; readonly from: string }[];
  readonly published?: PackageMirror;
  readonly fingerprints?: readonly string[];
  readonly signal?: AbortSignal;
}): Promise<Trust> {
  const keys: PublicKey[] = [];
  for (const { text, from } of options.keys ?? []) keys.push(...(await readPublicKeys(text, from)));
  if (options.published) keys.push(...(await options.published.publishedKeys(options.signal)));
  return new Trust(keys, options.fingerprints?.length ? options.fingerprints : undefined);
}

/** The folder that holds a mirror, where it is one of this machine: its files can be linked and moved. */
export function folderOf(mirror: PackageMirror): string | undefined {
  return mirror instanceof Mirror && mirror.store instanceof FolderStore ? mirror.store.root : undefined;
}
