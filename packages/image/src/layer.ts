import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import type { Readable } from 'node:stream';
import type { PackageContents, PackageLibraries, Statement } from '@stackwright/buildcache';
import { CheckedStream, type ComposedLayer, type Descriptor, type Digest } from '@stackwright/oci';
import type { ConcreteNode } from '@stackwright/spack-env';

/** A package's binary as the mirror holds it: the verified manifest says which blob, and the mirror opens it. */
export interface PackageBlob {
  readonly node: ConcreteNode;
  /** The tarball, which is a layer as it is where the package is not moved. */
  readonly descriptor: Descriptor;
  /** The blob's bytes; whoever reads checks their digest. */
  open(signal?: AbortSignal): Promise<Readable>;
  /** The file that holds the blob, where the mirror is a folder: then it is linked, not copied. */
  readonly path?: string;
  /** The registry's repository that holds the blob, where the mirror is one. */
  readonly repository?: RepositoryName;
  /** What the package's manifest says beyond what Spack writes. */
  readonly statement?: Statement;
  /** Whether a trusted key has signed that: then it is believed without a look at the tarball. */
  readonly vouched?: boolean;
  /** The digest of the spec that its manifest names. */
  readonly spec?: Digest;
  /** The fingerprint of the trusted key that signed the manifest. */
  readonly signedBy?: string;
}

/** What has to be known of a package to compose an image of it. */
export interface PackageFacts {
  /** The digest of the uncompressed tar. */
  readonly diffId: Digest;
  /** Absolute, where it was built. */
  readonly prefix: string;
  /** The root of the install tree where it was built. */
  readonly root: string;
  /** Its prefix below the root, as it says itself. */
  readonly relativePrefix: string;
  /** Prefixes by dag hash that stand in its files, its own too. */
  readonly prefixes: ReadonlyMap<string, string>;
  /** Folders below the prefix that search paths list. */
  readonly folders: readonly string[];
  readonly libraries: PackageLibraries;
  readonly contents: PackageContents;
}

/** A repository of a registry. */
export interface RepositoryName {
  /** Host, with a port where one was given. */
  readonly registry: string;
  readonly repository: string;
}

/** A layer whose bytes lie in a file. */
export interface LayerFile extends ComposedLayer {
  readonly path: string;
  /** Where it was taken from: to another repository of that registry, nothing has to be sent. */
  readonly from?: RepositoryName;
}

/** A layer's bytes, checked while they are read: those of a mirror may not have been read before. */
export function openLayer({ path, descriptor }: Pick<LayerFile, 'path' | 'descriptor'>): Readable {
  return checkedStream(createReadStream(path), descriptor, path);
}

/** Bytes that fail at their end unless length and digest are right. @param what names them in messages */
export function checkedStream(
  source: Readable,
  blob: Pick<Descriptor, 'digest' | 'size'>,
  what: string,
): Readable {
  const checked = new CheckedStream(blob, what);
  source.on('error', (error) => checked.destroy(error));
  checked.on('close', () => source.destroy());
  return source.pipe(checked);
}

/** A short, stable name for a combination of inputs, for remembering what was made of them. */
export function keyOf(...parts: readonly string[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex');
}
