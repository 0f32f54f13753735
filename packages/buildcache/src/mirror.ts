import type { Readable } from 'node:stream';
import type { Descriptor } from '@stackwright/oci';
import type { ConcreteNode } from '@stackwright/spack-env';
import type { PublicKey } from 'openpgp';
import type { ParsedEntry } from './index/database.js';
import type { SignedIndex } from './index/index-statement.js';
import type { PackageRef } from './package-ref.js';
import type { Trust, VerifyOptions } from './sign/signature.js';
import type { SpecDocument } from './spec-document.js';
import type { Statement } from './statement.js';

/**
 * Whose packages are taken: `trusted`, those signed by a key of `trust`; `unsigned`, all, checked by checksum only.
 */
export type SignaturePolicy =
  | ({
      readonly kind: 'trusted';
      readonly trust: Trust;
      /** Packages that were signed before do not count, nor those that do not say when. */
      readonly notBefore?: Date;
    } & Omit<VerifyOptions, 'date'>)
  | { readonly kind: 'unsigned' };

/**
 * What a mirror says of a package. Each kind of mirror gives values of a class of its own, which hold what else it knows
 * of the package; only the mirror that gave one can use that.
 */
export interface PackageManifest extends PackageRef {
  /** The package's tarball, as an image's layer is described. */
  readonly tarball: Descriptor;
  /** The blob that holds its spec. */
  readonly spec: Descriptor;
  /** The fingerprint of the trusted key that signed it; undefined when signatures were not looked at. */
  readonly signedBy: string | undefined;
  readonly signed: boolean;
  /** The manifest as layout v3 has it, clear-signed where it is; undefined where the mirror has none. */
  readonly text: string | undefined;
  /** What the manifest says of its package beyond what Spack writes. Worth no more than the signature over it. */
  readonly statement: Statement | undefined;
}

/** A package of a mirror whose manifest and spec have been read and checked together. */
export interface MirrorPackage<Manifest extends PackageManifest = PackageManifest> {
  readonly manifest: Manifest;
  readonly document: SpecDocument;
  /** The spec as the blob that `manifest.spec` describes. */
  readonly specBytes: Buffer;
}

/** What a mirror's index says. */
export interface MirrorIndex {
  /** Hashes of the packages whose binaries are in the mirror. */
  readonly hashes: ReadonlySet<string>;
  /** Every node of the index by hash, those without a binary too. */
  readonly nodes: ReadonlyMap<string, ConcreteNode>;
}

/** The reading half of a mirror, whatever its layout. */
export interface MirrorReader {
  readonly url: string;
  readonly policy: SignaturePolicy;
  /** Whether it can say by itself what it holds; else its index has to. */
  readonly canList: boolean;
  /** Whether it can publish public keys: a registry cannot. */
  readonly holdsKeys: boolean;
  /** Whether it can have index views: a registry and a mirror of layout v2 cannot. */
  readonly viewable: boolean;
  /** The index view that is read instead of the whole index; undefined for the whole index. */
  readonly view: string | undefined;
  /** The folder that holds it in layout v3, where it is one of this machine: its blobs can be linked. */
  readonly folder: string | undefined;
  /** The same mirror with other rules for signatures. */
  withPolicy(policy: SignaturePolicy): MirrorReader;
  /**
   * The same mirror, whose index is a view of this name (undefined: the whole index).
   * @throws BuildcacheError `view-name`; `unsupported` where it is not `viewable`
   */
  withView(view: string | undefined): MirrorReader;
  /** The names of the index views, sorted. Empty where the mirror cannot be listed. */
  views(signal?: AbortSignal): Promise<string[]>;
  /**
   * Takes a package: its manifest, the signature checked by the policy, and its spec, which is checked to be that of the
   * package asked for. There is no other way to a manifest, so that nobody can forget this check.
   * @throws BuildcacheError `missing-package`, `missing-blob`, `manifest`, `newer`, `signature-…`, `key-…`, `checksum`,
   *   `length`, `spec`, `wrong-package`, `dag-hash`, `statement`
   */
  package(ref: PackageRef, signal?: AbortSignal): Promise<MirrorPackage>;
  /** Whether a package is there; says nothing of its blobs. */
  has(ref: PackageRef, signal?: AbortSignal): Promise<boolean>;
  /** The package's tarball, gzip-compressed, verified while it streams. */
  tarball(manifest: PackageManifest, signal?: AbortSignal): Promise<Readable>;
  /** Every package that is there, from a listing. */
  packages(signal?: AbortSignal): AsyncGenerator<PackageRef>;
  hasIndex(signal?: AbortSignal): Promise<boolean>;
  /**
   * What the index says of itself, if a key that the policy trusts has signed it; undefined for one that is not signed,
   * and under the policy `unsigned`.
   * @throws BuildcacheError `signature-…`, `key-…`, `statement`
   */
  signedIndex(signal?: AbortSignal): Promise<SignedIndex | undefined>;
  /** Entries of the index, streamed. @throws BuildcacheError `missing-index`, `missing-view`, `index`, `checksum` */
  indexEntries(signal?: AbortSignal): AsyncGenerator<ParsedEntry>;
  /** The whole index in memory: for graphs, which need all of it. */
  index(signal?: AbortSignal): Promise<MirrorIndex>;
  /** Public keys that the mirror publishes. They say nothing of whose they are. */
  publishedKeys(signal?: AbortSignal): Promise<PublicKey[]>;
  close(): Promise<void>;
}

/** The index of a mirror in memory. */
export async function readIndex(mirror: MirrorReader, signal?: AbortSignal): Promise<MirrorIndex> {
  const hashes = new Set<string>();
  const nodes: Map<string, ConcreteNode> = new Map();
  for await (const { node, inBuildcache } of mirror.indexEntries(signal)) {
    if (inBuildcache) hashes.add(node.hash);
    nodes.set(node.hash, node);
  }
  return { hashes, nodes };
}
