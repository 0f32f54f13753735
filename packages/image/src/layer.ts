import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import type { ComposedLayer, Descriptor } from '@stackwright/oci';
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
}

/** A layer whose bytes lie in a file. */
export interface LayerFile extends ComposedLayer {
  readonly path: string;
}

/** A short, stable name for a combination of inputs, for remembering what was made of them. */
export function keyOf(...parts: readonly string[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex');
}
