import type { Readable } from 'node:stream';
import { parse } from 'yaml';
import { ImageError } from './error.js';
import type { PackageBlob } from './layer.js';
import type { StagedBlob } from './staging.js';

/** Where a package goes in the image, and what that changes in its files. */
export interface MovedPackage {
  readonly blob: PackageBlob;
  /** The package lies in the image where it was built: its blob is a layer as it is. */
  readonly stays: boolean;
  /** Absolute, in the image. */
  readonly prefix: string;
  /** Old to new, absolute: the install root, the prefixes of the package and of its dependencies. */
  readonly prefixes: Readonly<Record<string, string>>;
}

interface Distribution {
  readonly buildpath: string;
  readonly relative_prefix: string;
  readonly hash_to_prefix: Readonly<Record<string, string>>;
  readonly sbang_install_path?: string;
}

/**
 * Decides for each package whether it lies in the image where it was built.
 * @param installRoot absolute; undefined when every package stays, which needs them all to have been built under one root
 */
export function planMove(
  packages: readonly { readonly blob: PackageBlob; readonly staged: StagedBlob }[],
  installRoot: string | undefined,
): MovedPackage[] {
  const read = packages.map(({ blob, staged }) => ({
    blob,
    staged,
    built: readDistribution(blob, staged.facts.distribution),
  }));
  const root = installRoot ?? read[0]?.built.buildpath ?? '/';
  // Where each package of the image will be, by hash: dependencies' prefixes change with their own root, not with the dependent's.
  const placed = new Map(read.map(({ blob, built }) => [blob.node.hash, `${root}/${built.relative_prefix}`]));
  return read.map(({ blob, staged, built }) => {
    const prefix = placed.get(blob.node.hash) as string;
    const prefixes: Record<string, string> = {};
    for (const [hash, old] of Object.entries(built.hash_to_prefix)) {
      // A dependency that the image does not hold (needed for building only) moves with the root.
      const to =
        placed.get(hash) ??
        (old.startsWith(`${built.buildpath}/`) ? root + old.slice(built.buildpath.length) : old);
      if (to !== old) prefixes[old] = to;
    }
    if (built.buildpath !== root) prefixes[built.buildpath] = root;
    if (staged.facts.prefix !== prefix) prefixes[staged.facts.prefix] = prefix;
    return { blob, prefix, prefixes, stays: Object.keys(prefixes).length === 0 };
  });
}

function readDistribution(blob: PackageBlob, text: string): Distribution {
  const built: Partial<Distribution> | null = parse(text);
  if (typeof built?.buildpath !== 'string' || typeof built.relative_prefix !== 'string') {
    throw new ImageError(
      'input',
      `${blob.node.name}/${blob.node.hash}: .spack/binary_distribution does not say where the package was built.`,
    );
  }
  return { hash_to_prefix: {}, ...built } as Distribution;
}

/** The uncompressed tar of a package as it is after its move, deterministic. */
export function relocatedTar(_compressed: Readable, move: MovedPackage, _signal?: AbortSignal): Readable {
  throw new ImageError('failed', `${move.blob.node.name}: relocation is being written.`);
}
