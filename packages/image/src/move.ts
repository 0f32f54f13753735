import { Readable } from 'node:stream';
import {
  type BuildInfo,
  LayerScan,
  relocatedEntries,
  type ScannedLayer,
  type TarItem,
  tarBytes,
  tarEntries,
} from '@stackwright/buildcache';
import type { PackageBlob, PackageFacts } from './layer.js';

/** Where a package goes in the image, and what that changes in its files. */
export interface MovedPackage {
  readonly blob: PackageBlob;
  /** The package lies in the image where it was built: its blob is a layer as it is. */
  readonly stays: boolean;
  /** Absolute, in the image. */
  readonly prefix: string;
  /** The install root in the image. */
  readonly root: string;
  readonly facts: PackageFacts;
  /** New prefixes by dag hash, of the packages that the image holds. */
  readonly placed: ReadonlyMap<string, string>;
}

/**
 * Decides for each package whether it lies in the image where it was built.
 * @param installRoot absolute; left out, everything lies where the first package was built
 */
export function planMove(
  packages: readonly { readonly blob: PackageBlob; readonly facts: PackageFacts }[],
  installRoot: string | undefined,
): MovedPackage[] {
  const root = installRoot ?? packages[0]?.facts.root ?? '/';
  // Where each package of the image will be: a dependency's prefix moves with its own root, not with its dependent's.
  const placed = new Map(
    packages.map(({ blob, facts }) => [blob.node.hash, `${root}/${facts.relativePrefix}`]),
  );
  return packages.map(({ blob, facts }) => {
    const prefix = placed.get(blob.node.hash) as string;
    // What is not in the image moves with the root, which is the same then.
    const stays =
      facts.root === root &&
      facts.prefix === prefix &&
      [...facts.prefixes].every(([hash, path]) => (placed.get(hash) ?? path) === path);
    return { blob, prefix, root, facts, placed, stays };
  });
}

/** What distinguishes one move from another of the same package, for remembering its result. */
export function moveKey({ root, facts, placed }: MovedPackage): string {
  return JSON.stringify([root, [...facts.prefixes.keys()].map((hash) => [hash, placed.get(hash)])]);
}

/** A package after its move: the uncompressed tar, the same for the same input, and what was found in it at its end. */
export interface RelocatedTar {
  readonly open: () => Readable;
  readonly found: () => ScannedLayer;
}

/**
 * A package as it is after its move.
 * @param open the packed tarball; @param buildFiles keep the files that describe the machine it was built on
 */
export function relocatedTar(
  open: () => Readable,
  info: BuildInfo,
  { blob, root, facts, placed }: MovedPackage,
  { buildFiles = false, signal }: { readonly buildFiles?: boolean; readonly signal?: AbortSignal } = {},
): RelocatedTar {
  const what = `${blob.node.name}@${blob.node.version}/${blob.node.hash.slice(0, 7)}`;
  const scan = new LayerScan();
  const entries = () =>
    relocatedEntries(tarEntries(open(), { what, signal }), info, facts.prefix, {
      what,
      root,
      prefixes: placed,
    });
  const kept = (items: AsyncIterable<TarItem>) => (buildFiles ? items : withoutBuildFiles(items));
  return {
    open: () => Readable.from(tarBytes(kept(scan.watch(entries())))),
    found: () => scan.result(what),
  };
}

/**
 * Files that Spack leaves below a prefix's `.spack`, with paths, variables and names of the machine that built it, and
 * the list of files that were packed: nothing of it is needed to use or to look up the package.
 */
const buildFile =
  /\/\.spack\/(?:binary_distribution|install_manifest\.json|install_environment\.json|spack-(?:build|configure)[^/]*)$/;

async function* withoutBuildFiles(items: AsyncIterable<TarItem>): AsyncGenerator<TarItem> {
  for await (const item of items) {
    if (!buildFile.test(item.entry.name)) yield item;
    else for await (const _ of item.content);
  }
}
