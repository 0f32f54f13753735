import type { BaseImage, Layer } from '@stackwright/oci';
import type { MirrorReader, SignaturePolicy } from './mirror.js';
import type { TarItem } from './pack/tar.js';
import type { PackageRef } from './package-ref.js';
import type { Signer } from './sign/signature.js';

/** What a mirror's package is made of. */
export interface PackageSource extends PackageRef {
  /** The spec's JSON as it goes into the mirror. */
  readonly specText: string;
  /** Of each item the bytes need to hold only until the next is asked for. */
  readonly items: () => AsyncIterable<TarItem>;
}

export interface PushOptions {
  /** Signs the manifests; left out: they stay unsigned. */
  readonly signer?: Signer;
  /** Push also what is there already. */
  readonly force?: boolean;
  /** The time that the manifest says it was signed at; now when left out. */
  readonly time?: Date;
  readonly signal?: AbortSignal;
  /** Where large tarballs wait until their checksum is known; the system's temporary folder when left out. */
  readonly temporary?: string;
}

export interface PushAllOptions extends PushOptions {
  /** Packages sent at once. */
  readonly parallel?: number;
  /** In a registry: the image below the packages, for an architecture in OCI's words; asked for before anything is written. */
  readonly base?: (architecture: string) => Promise<BaseImage | undefined>;
  /** In a registry: also an image of these packages and all that they need, under a tag of its own. */
  readonly combined?: { readonly tag: string; readonly roots: readonly string[] };
  readonly onProgress?: (event: { readonly package: PackageRef; readonly outcome: Pushed | Error }) => void;
}

export interface Pushed extends PackageRef {
  /** `present`: it was there, whole, before. */
  readonly outcome: 'pushed' | 'present';
  /** What was packed, if it was. */
  readonly tarball?: PackedLayer;
}

/** A package's tarball that was packed just now. */
export interface PackedLayer extends Layer {
  /** Bytes of the tar before compression. */
  readonly tarSize: number;
}

/** Why one of several packages could not be dealt with. */
export interface PackageFailure {
  readonly package: PackageRef;
  readonly error: Error;
}

export interface PushResult {
  readonly pushed: readonly Pushed[];
  readonly failed: readonly PackageFailure[];
  /** How many layers the image of all has, when one was asked for. */
  readonly combinedLayers?: number;
}

export interface CopyOptions {
  /** Signs each manifest anew; left out: the signatures stay as they are. */
  readonly signer?: Signer;
  /** Copy also what is there. */
  readonly force?: boolean;
  /** Leave out packages that nobody trusted has signed, instead of failing on them. */
  readonly onlyTrusted?: boolean;
  readonly parallel?: number;
  /** The time that manifests which are signed anew say they were signed at; now when left out. */
  readonly time?: Date;
  /** In a registry: as for a push. */
  readonly base?: PushAllOptions['base'];
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number) => void;
}

export type CopyOutcome = 'copied' | 'present' | 'left-out';

export interface CopyResult {
  /** By dag hash. */
  readonly outcomes: ReadonlyMap<string, CopyOutcome>;
  readonly failed: readonly PackageFailure[];
}

export type SignOptions = Pick<CopyOptions, 'parallel' | 'time' | 'signal' | 'onProgress'>;

export interface SignResult {
  readonly signed: readonly PackageRef[];
  /** Signed by this key before, with a statement. */
  readonly present: readonly PackageRef[];
  readonly failed: readonly PackageFailure[];
}

/** Which packages an index view holds after it was written (Spack's `buildcache update-index --name VIEW`). */
export interface ViewUpdate {
  readonly name: string;
  /**
   * `create`: these packages, and the view must not exist; `append`: also those that it holds; `replace`: these alone;
   * `refresh`: those that it holds, without the packages that the mirror no longer has.
   */
  readonly mode: 'create' | 'append' | 'replace' | 'refresh';
  /** Dag hashes; what the mirror does not have is left out. Of no effect with `refresh`. */
  readonly packages?: ReadonlySet<string>;
}

export interface IndexOptions {
  /** Write this index view; the whole index when left out. */
  readonly view?: ViewUpdate;
  /**
   * Signs the index, with the time and a number that grows. An index that was not signed by the same key before is not
   * believed: every package is read anew.
   */
  readonly signer?: Signer;
  /** Sign also an index that was not signed before; else it stays as it is in that. */
  readonly signNew?: boolean;
  /** The time that a signed index says; now when left out. */
  readonly time?: Date;
  /** Read every package anew instead of taking over what the current index says. */
  readonly full?: boolean;
  /** Leave out packages that cannot be read, and report them, instead of stopping at the first. */
  readonly skipBroken?: boolean;
  /** Hashes that are to be left out although they are there: they are about to be deleted. */
  readonly exclude?: ReadonlySet<string>;
  /** Packages read at once. */
  readonly parallel?: number;
  /** Age in milliseconds from which on a replaced index blob is deleted at once; 10 minutes when left out. */
  readonly keepReplaced?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number) => void;
}

export interface IndexResult {
  /** Packages in the mirror, and so in the index. */
  readonly packages: number;
  readonly added: number;
  readonly removed: number;
  /** Taken over from the index before. */
  readonly kept: number;
  readonly broken: readonly { readonly package: string; readonly reason: string }[];
  /** Packages of a newer Spack, whose specs cannot be read here. The databases of that Spack are left as they are. */
  readonly newer: readonly string[];
  /** Whether a signature is on the index now. */
  readonly signed: boolean;
  /** `unchanged` when the index said all this already. */
  readonly outcome: 'written' | 'unchanged';
  /** Why the index before was not taken over, when it was not. */
  readonly note?: string;
}

export interface PruneOptions {
  /** Packages to keep, with all that they link or run; left out: packages are kept, only orphans go. */
  readonly keep?: ReadonlySet<string>;
  /** Delete only packages whose manifest is at least this old, in milliseconds. */
  readonly olderThan?: number;
  /** Leave blobs alone that are younger, in milliseconds: someone may be pushing. A day when left out. */
  readonly grace?: number;
  readonly signal?: AbortSignal;
}

/** What a pruning would delete. */
export interface PrunePlan {
  readonly packages: readonly PackageRef[];
  /** Packages that stay. */
  readonly kept: number;
  readonly blobs: readonly {
    readonly key: string;
    readonly size: number;
    /** Changes when somebody writes the blob again. */
    readonly version: string;
  }[];
  /** Bytes that all these blobs have. */
  readonly bytes: number;
  /** What each manifest named, by its key. */
  readonly manifests: ReadonlyMap<string, ManifestNames>;
}

/** What a manifest names, as of one version of it. */
export interface ManifestNames {
  readonly ref: PackageRef | undefined;
  readonly etag: string | undefined;
  readonly modified: Date | undefined;
  /** Digests. */
  readonly blobs: readonly string[];
}

/** The writing half. What a kind of mirror cannot do throws BuildcacheError `unsupported`. */
export interface MirrorWriter {
  /** Whether it can be written at all: one of layout v2 cannot. */
  readonly writable: boolean;
  /** Packs one package and pushes it: blobs first, the manifest last. */
  push(source: PackageSource, options?: PushOptions): Promise<Pushed>;
  /** Pushes many, a few at a time. Goes on after a failure and reports it. */
  pushAll(sources: readonly PackageSource[], options?: PushAllOptions): Promise<PushResult>;
  /** Copies packages of another mirror into this one, each verified by the other's policy. */
  copyFrom(from: MirrorReader, refs: readonly PackageRef[], options?: CopyOptions): Promise<CopyResult>;
  /**
   * Signs packages anew: each is verified by this mirror's policy first. A manifest that has no statement which a trusted
   * key has signed gets one, for which its tarball is read and checked.
   */
  sign(refs: readonly PackageRef[], signer: Signer, options?: SignOptions): Promise<SignResult>;
  /** Publishes public keys (armored) and brings the index of keys up to date. Returns their fingerprints. */
  publishKey(armored: string, signal?: AbortSignal): Promise<string[]>;
  /** Writes the index of keys from what is there. Returns the fingerprints. */
  updateKeyIndex(signal?: AbortSignal): Promise<string[]>;
  /** @throws BuildcacheError `view-exists`, `missing-view`; `unsupported` for a view where it is not `viewable` */
  updateIndex(options?: IndexOptions): Promise<IndexResult>;
  /** Deletes an index view. Its packages stay. */
  removeView(name: string, signal?: AbortSignal): Promise<void>;
  /** Finds what can go. Nothing is deleted. */
  planPrune(options?: PruneOptions): Promise<PrunePlan>;
  /** Deletes what the plan names. */
  prune(plan: PrunePlan, options?: PruneOptions): Promise<void>;
}

/** A mirror of binary packages: of layout v3 or v2 in a store, or in a registry. */
export interface Mirror extends MirrorReader, MirrorWriter {
  withPolicy(policy: SignaturePolicy): Mirror;
  withView(view: string | undefined): Mirror;
}
