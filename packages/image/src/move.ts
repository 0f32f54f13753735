import { Readable } from 'node:stream';
import {
  type BuildInfo,
  parseBuildInfo,
  relocatedEntries,
  relocationOf,
  tarBytes,
  tarEntries,
} from '@stackwright/buildcache';
import type { PackageBlob } from './layer.js';
import type { StagedBlob } from './staging.js';

/** Where a package goes in the image, and what that changes in its files. */
export interface MovedPackage {
  readonly blob: PackageBlob;
  /** The package lies in the image where it was built: its blob is a layer as it is. */
  readonly stays: boolean;
  /** Absolute, in the image. */
  readonly prefix: string;
  /** Absolute, where it was built. */
  readonly built: string;
  /** The install root in the image. */
  readonly root: string;
  readonly info: BuildInfo;
  /** New prefixes by dag hash, of the packages that the image holds. */
  readonly placed: ReadonlyMap<string, string>;
}

/**
 * Decides for each package whether it lies in the image where it was built.
 * @param installRoot absolute; left out, everything lies where the first package was built
 */
export function planMove(
  packages: readonly { readonly blob: PackageBlob; readonly staged: StagedBlob }[],
  installRoot: string | undefined,
): MovedPackage[] {
  const read = packages.map(({ blob, staged }) => ({
    blob,
    built: staged.facts.prefix,
    info: parseBuildInfo(
      staged.facts.distribution,
      `${blob.node.name}@${blob.node.version}/${blob.node.hash}`,
    ),
  }));
  const root = installRoot ?? read[0]?.info.root ?? '/';
  // Where each package of the image will be: a dependency's prefix moves with its own root, not with its dependent's.
  const placed = new Map(read.map(({ blob, info }) => [blob.node.hash, `${root}/${info.relativePrefix}`]));
  return read.map(({ blob, built, info }) => {
    const prefix = placed.get(blob.node.hash) as string;
    const relocation = relocationOf(info, { root, prefixes: placed });
    // The sbang script's own place does not count: it follows from the root.
    const stays =
      info.root === root &&
      built === prefix &&
      [...info.prefixes.values()].every((path) => relocation.path(path) === path);
    return { blob, prefix, built, root, info, placed, stays };
  });
}

/** What distinguishes one move from another of the same package, for remembering its result. */
export function moveKey({ root, info, placed }: MovedPackage): string {
  return JSON.stringify([root, [...info.prefixes.keys()].map((hash) => [hash, placed.get(hash)])]);
}

/** The uncompressed tar of a package as it is after its move; the same input gives the same bytes. */
export function relocatedTar(compressed: Readable, move: MovedPackage, signal?: AbortSignal): Readable {
  const { blob, built, root, info, placed } = move;
  const what = `${blob.node.name}@${blob.node.version}/${blob.node.hash.slice(0, 7)}`;
  const entries = relocatedEntries(tarEntries(compressed, { what, signal }), info, built, {
    what,
    root,
    prefixes: placed,
  });
  return Readable.from(tarBytes(entries));
}
