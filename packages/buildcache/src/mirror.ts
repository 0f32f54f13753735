import type { Readable } from 'node:stream';
import type { PublicKey } from 'openpgp';
import { sha256 } from './blob.js';
import type { ParsedEntry } from './index/database.js';
import { mediaType, type PackageRef } from './package-ref.js';
import type { SpecDocument } from './spec-document.js';
import { formatManifest, record } from './v3/manifest.js';
import type { MirrorIndex, PackageManifest, SignaturePolicy } from './v3/reader.js';

/** What every mirror answers to those who take packages from it, whatever its layout. */
export interface PackageMirror {
  readonly url: string;
  readonly policy: SignaturePolicy;
  /** Whether it can say by itself what it holds; else its index has to. */
  readonly canList: boolean;
  /** The same mirror with other rules for signatures. */
  withPolicy(policy: SignaturePolicy): PackageMirror;
  /**
   * Takes a package: its manifest, the signature checked by the policy, and its spec, which is checked to be that of the
   * package asked for. There is no other way to a manifest, so that nobody can forget this check.
   * @throws BuildcacheError `missing-package`, `missing-blob`, `manifest`, `signature-…`, `key-…`, `checksum`, `length`,
   *   `spec`, `wrong-package`, `dag-hash`
   */
  package(ref: PackageRef, signal?: AbortSignal): Promise<MirrorPackage>;
  /** Whether a package is there; says nothing of its blobs. */
  has(ref: PackageRef, signal?: AbortSignal): Promise<boolean>;
  /** The package's tarball, gzip-compressed, verified while it streams. */
  tarball(manifest: PackageManifest, signal?: AbortSignal): Promise<Readable>;
  /** Every package that is there, from a listing. */
  packages(signal?: AbortSignal): AsyncGenerator<PackageRef>;
  hasIndex(signal?: AbortSignal): Promise<boolean>;
  /** Entries of the index, streamed. @throws BuildcacheError `missing-index`, `index`, `checksum` */
  indexEntries(signal?: AbortSignal): AsyncGenerator<ParsedEntry>;
  /** The whole index in memory: for graphs, which need all of it. */
  index(signal?: AbortSignal): Promise<MirrorIndex>;
  /** Public keys that the mirror publishes. They say nothing of whose they are. */
  publishedKeys(signal?: AbortSignal): Promise<PublicKey[]>;
  close(): Promise<void>;
}

/** A package of a mirror whose manifest and spec have been read and checked together. */
export interface MirrorPackage {
  readonly manifest: PackageManifest;
  readonly document: SpecDocument;
  /** The spec as the blob that `manifest.spec` describes. */
  readonly specBytes: Buffer;
}

/** What a package of a mirror without manifests of layout v3 would have as one, unsigned. */
export function manifestOf(
  { name, version, hash }: PackageRef,
  key: string,
  tarball: { readonly checksum: string; readonly size: number },
  spec: Buffer,
): PackageManifest {
  const records = [
    record(tarball.size, mediaType.tarball, 'gzip', tarball.checksum),
    record(spec.length, mediaType.spec, 'gzip', sha256(spec)),
  ] as const;
  return {
    name,
    version,
    hash,
    key,
    tarball: records[0],
    spec: records[1],
    signedBy: undefined,
    signed: false,
    text: formatManifest({ version: 3, data: records }),
    etag: undefined,
  };
}

/** The index of a mirror in memory. */
export async function readIndex(mirror: PackageMirror, signal?: AbortSignal): Promise<MirrorIndex> {
  const hashes = new Set<string>();
  const nodes: Map<string, ParsedEntry['node']> = new Map();
  for await (const { node, inBuildcache } of mirror.indexEntries(signal)) {
    if (inBuildcache) hashes.add(node.hash);
    nodes.set(node.hash, node);
  }
  return { hashes, nodes };
}
