import { Readable } from 'node:stream';
import { type TarItem, tarBytes, tarEntries } from '@stackwright/buildcache';
import { keyOf, type LayerFile, openLayer } from './layer.js';
import type { Staging } from './staging.js';

/**
 * Puts neighbouring layers together until at most `most` are left, choosing runs that hold the fewest bytes, so that
 * little has to be compressed again and the large blobs of the mirror stay as they are.
 */
export async function mergeLayers(
  layers: readonly LayerFile[],
  most: number,
  staging: Staging,
  signal?: AbortSignal,
): Promise<LayerFile[]> {
  const groups = groupSmallest(
    layers.map((layer) => layer.descriptor.size),
    most,
  );
  const merged: LayerFile[] = [];
  let start = 0;
  for (const length of groups) {
    const group = layers.slice(start, start + length);
    start += length;
    const [only] = group;
    if (group.length === 1 && only) {
      merged.push(only);
    } else {
      const key = keyOf('merged', ...group.map((layer) => layer.diffId));
      const createdBy = group.map((layer) => layer.createdBy.replace('stackwright: ', '')).join(' ');
      merged.push(
        await staging.pack(key, () => concatenate(group, signal), `stackwright: ${createdBy}`, { signal }),
      );
    }
  }
  return merged;
}

/** The lengths of runs that leave at most `most` groups: again and again the two neighbours that hold the fewest bytes become one. */
export function groupSmallest(sizes: readonly number[], most: number): number[] {
  const groups = sizes.map((size) => ({ size, length: 1 }));
  while (groups.length > most) {
    let best = 0;
    for (let index = 1; index + 1 < groups.length; index += 1) {
      if (sum(index) < sum(best)) best = index;
    }
    const [left, right] = groups.slice(best, best + 2) as [(typeof groups)[0], (typeof groups)[0]];
    groups.splice(best, 2, { size: left.size + right.size, length: left.length + right.length });
  }
  return groups.map((group) => group.length);

  function sum(index: number): number {
    return (groups[index]?.size ?? 0) + (groups[index + 1]?.size ?? 0);
  }
}

/** One tar of several layers' entries, in order; a folder that an earlier layer has is not repeated. */
function concatenate(layers: readonly LayerFile[], signal?: AbortSignal): Readable {
  return Readable.from(tarBytes(entriesOf(layers, signal)), { objectMode: false });
}

async function* entriesOf(layers: readonly LayerFile[], signal?: AbortSignal): AsyncGenerator<TarItem> {
  const folders = new Set<string>();
  for (const layer of layers) {
    for await (const item of tarEntries(openLayer(layer), { what: layer.createdBy, signal })) {
      const { name, type } = item.entry;
      if (type === 'folder' && folders.has(name)) continue;
      if (type === 'folder') folders.add(name);
      yield item;
    }
  }
}
