import type { PackageManifest } from '@stackwright/buildcache';
import { packageBlob, type Staging } from '@stackwright/image';
import type { ConcreteNode } from '@stackwright/spack-env';
import pLimit from 'p-limit';
import type { Survey, Usable } from './survey.js';

/**
 * Reads what will be relied on, and refuses what is not as its manifest says. Binaries of a remote mirror that go into no
 * image stay unread: who installs them checks them.
 * @returns the survey with what was found
 */
export async function checkWhole(
  { packages }: Survey,
  nodes: readonly ConcreteNode[],
  options: {
    readonly staging: Staging;
    readonly inImage: ReadonlySet<string>;
    readonly signal: AbortSignal;
    readonly onProgress: (done: number, all: number) => void;
  },
): Promise<Survey> {
  const { staging, inImage, signal, onProgress } = options;
  const checked = new Map(packages);
  const limit = pLimit(4);
  let done = 0;
  const check = async (node: ConcreteNode, usable: Usable, manifest: PackageManifest): Promise<void> => {
    signal.throwIfAborted();
    const { mirror, place } = usable;
    try {
      if (mirror.folder !== undefined || inImage.has(node.hash)) {
        await staging.stage(packageBlob(mirror, node, manifest), signal);
      }
    } catch (error) {
      signal.throwIfAborted();
      const { kind } = error as { kind?: unknown };
      // What a mirror holds is input; a server that is away is no reason to build anything again.
      if (kind !== 'input' || !(error instanceof Error)) throw error;
      checked.set(node.hash, { state: 'refused', place, reason: `damaged on ${place.fetch}`, error });
    }
    onProgress((done += 1), relied.length);
  };
  const relied = nodes.flatMap((node) => {
    const found = packages.get(node.hash);
    return found?.state === 'usable' && found.manifest ? [{ node, found, manifest: found.manifest }] : [];
  });
  try {
    await Promise.all(relied.map(({ node, found, manifest }) => limit(() => check(node, found, manifest))));
  } finally {
    limit.clearQueue();
  }
  return { packages: checked };
}
