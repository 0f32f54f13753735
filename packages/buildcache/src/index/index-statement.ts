import { BuildcacheError } from '../error.js';

/**
 * What a signed index says of itself, in its manifest under the key `stackwrightIndex`: under the same signature as the
 * digests of its databases. Spack reads clear-signed manifests of indexes, and ignores further keys.
 */
export interface IndexStatement {
  /** Of this format. */
  readonly version: 1;
  /** When it was signed, RFC 3339 in UTC, whole seconds. */
  readonly time: string;
  /** Grows with every signature. It starts at the Unix time, so that a mirror that was made anew does not go back. */
  readonly counter: number;
  /** How many packages it holds. */
  readonly packages: number;
}

/** An index whose signature counts. */
export interface SignedIndex extends IndexStatement {
  readonly signedBy: string;
}

/** The statement for an index that follows another. */
export function nextStatement(
  before: IndexStatement | undefined,
  packages: number,
  time = new Date(),
): IndexStatement {
  const now = Math.floor(time.getTime() / 1000);
  return {
    version: 1,
    time: time.toISOString().replace(/\.\d+Z$/, 'Z'),
    counter: Math.max(now, (before?.counter ?? 0) + 1),
    packages,
  };
}

/** @throws BuildcacheError `statement` for a broken one; undefined for none, and for one of an unknown version */
export function parseIndexStatement(raw: unknown, where: string): IndexStatement | undefined {
  if (raw === undefined) return undefined;
  const { version, time, counter, packages } = (raw ?? {}) as Record<string, unknown>;
  if (typeof version === 'number' && version > 1) return undefined;
  const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) >= 0;
  if (version === 1 && typeof time === 'string' && !Number.isNaN(Date.parse(time)))
    if (isCount(counter) && isCount(packages)) return { version, time, counter, packages };
  throw new BuildcacheError('statement', `${where}: the statement of the index is broken.`, {
    key: where,
    hint: 'Sign the index anew: stackwright mirror index URL --key FILE',
  });
}
