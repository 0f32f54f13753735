import type { PublicKey } from 'openpgp';
import type { MirrorReader } from '../mirror.js';
import { readPublicKeys } from './key.js';
import { Trust } from './signature.js';

/**
 * The keys to trust: those in files or texts, and the mirror's own where asked.
 * @param only fingerprints; of all those keys, trust only these
 */
export async function trustOf(options: {
  readonly keys?: readonly { readonly text: string; readonly from: string }[];
  readonly published?: Pick<MirrorReader, 'publishedKeys'>;
  readonly fingerprints?: readonly string[];
  readonly signal?: AbortSignal;
}): Promise<Trust> {
  const keys: PublicKey[] = [];
  for (const { text, from } of options.keys ?? []) keys.push(...(await readPublicKeys(text, from)));
  if (options.published) keys.push(...(await options.published.publishedKeys(options.signal)));
  return new Trust(keys, options.fingerprints?.length ? options.fingerprints : undefined);
}
