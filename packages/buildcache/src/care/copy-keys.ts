import type { MirrorReader } from '../mirror.js';
import type { Mirror } from '../mirror-writer.js';

/** Copies the public keys that one mirror publishes to another that can hold some. Returns how many there are. */
export async function copyKeys(from: MirrorReader, to: Mirror, signal?: AbortSignal): Promise<number> {
  if (!to.holdsKeys) return 0;
  const keys = await from.publishedKeys(signal);
  for (const key of keys) await to.publishKey(key.armor().replaceAll('\r\n', '\n'), signal);
  return keys.length;
}
