import type { MirrorReader } from '../mirror.js';
import type { Mirror } from '../mirror-writer.js';

export interface CopyViewsOptions {
  /** Make the views of `to` those of `from`: they lose what is not in them there, and others are deleted. */
  readonly replace?: boolean;
  readonly signal?: AbortSignal;
}

/**
 * Carries the index views of one mirror to another: those packages of each view that the other mirror has. Where `from`
 * is opened with a view, that one alone.
 * @returns the names of the views that were written
 */
export async function copyViews(
  from: MirrorReader,
  to: Mirror,
  { replace = false, signal }: CopyViewsOptions = {},
): Promise<string[]> {
  if (!to.viewable) return [];
  const names = from.view === undefined ? await from.views(signal) : [from.view];
  for (const name of names) {
    const packages = await packagesIn(from.withView(name), signal);
    await to.updateIndex({ view: { name, packages, mode: replace ? 'replace' : 'append' }, signal });
  }
  if (replace) {
    for (const name of await to.views(signal)) if (!names.includes(name)) await to.removeView(name, signal);
  }
  return names;
}

/** Dag hashes of the packages that the index of a mirror holds. */
async function packagesIn(mirror: MirrorReader, signal?: AbortSignal): Promise<Set<string>> {
  const packages = new Set<string>();
  for await (const { node, inBuildcache } of mirror.indexEntries(signal))
    if (inBuildcache) packages.add(node.hash);
  return packages;
}
