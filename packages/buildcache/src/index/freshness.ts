import { BuildcacheError, isUnvouched } from '../error.js';
import type { MirrorReader } from '../mirror.js';
import type { SignedIndex } from './index-statement.js';

/** Remembers the last counter of each mirror's index, for this user. */
export interface IndexMemory {
  /** @param mirror its URL, with the name of the view where it is one */
  recall(mirror: string): Promise<number | undefined>;
  remember(mirror: string, counter: number): Promise<void>;
}

export interface FreshnessOptions {
  readonly memory?: IndexMemory;
  /** Milliseconds that may have passed since the index was signed. */
  readonly maxAge?: number;
  readonly signal?: AbortSignal;
}

/**
 * Refuses a mirror whose index went back: one that has a smaller counter than the last that was seen, or that is not
 * signed any more. What is seen is remembered. Nothing is asked of a mirror without trusted signatures, and of an index
 * that was never signed, but an age.
 * @throws BuildcacheError `index-old`, `index-unsigned`, `signature-wrong`, `statement`
 */
export async function checkFreshness(
  mirror: MirrorReader,
  { memory, maxAge, signal }: FreshnessOptions,
): Promise<void> {
  if (mirror.policy.kind !== 'trusted') return;
  const name = mirror.view === undefined ? mirror.url : `${mirror.url} view ${mirror.view}`;
  const seen = await memory?.recall(name);
  let unvouched: BuildcacheError | undefined;
  let index: SignedIndex | undefined;
  try {
    index = await mirror.signedIndex(signal);
  } catch (error) {
    if (!isUnvouched(error)) throw error;
    unvouched = error;
  }
  if (!index) {
    if (seen === undefined && maxAge === undefined) return;
    throw new BuildcacheError(
      'index-unsigned',
      `${name}: its index is not signed by a trusted key${seen === undefined ? '' : ', and was before'}.`,
      {
        mirror: mirror.url,
        hint: `${unvouched ? `${unvouched.message}\n` : ''}Sign it: stackwright mirror index URL --key FILE`,
      },
      { cause: unvouched },
    );
  }
  const { counter, time } = index;
  if (seen !== undefined && counter < seen) {
    throw new BuildcacheError(
      'index-old',
      `${name}: its index went back: it has the number ${counter}, signed ${time}, and ${seen} was seen before.`,
      {
        mirror: mirror.url,
        hint: 'Somebody put an old state in its place. Restore the mirror, and sign its index anew.',
      },
    );
  }
  if (maxAge !== undefined && Date.now() - Date.parse(time) > maxAge) {
    throw new BuildcacheError(
      'index-old',
      `${name}: its index was signed ${time}, longer ago than allowed.`,
      {
        mirror: mirror.url,
        hint: 'Sign it anew (stackwright mirror index URL --key FILE), or allow a larger --max-age.',
      },
    );
  }
  if (seen === undefined || counter > seen) await memory?.remember(name, counter);
}
