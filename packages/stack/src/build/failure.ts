import { constants } from 'node:os';
import { LogReader } from '@stackwright/cdash';
import type { JobFailure } from '@stackwright/report';
import { SpackError, withoutPadding } from '@stackwright/spack';
import type { StackSettings } from '@stackwright/spack-env';
import type { FailedBuild, FirstError } from '../error.js';
import { withoutSecrets } from '../secrets.js';
import { readBlocks } from './log-blocks.js';

/** What kind of failure a build ended with, and what is done about it. */
export interface FailureKind {
  readonly name: string;
  /** A line of the build's output that says so. */
  readonly match?: RegExp;
  /** How many times such a build is started again. */
  readonly retries: number;
  /** With half as many processes. */
  readonly fewerJobs?: boolean;
}

/**
 * The kinds of failures, the ones that explain others first: a compiler that finds no memory also reports an error.
 * What a stack's `stackwright.yaml` adds comes before all of these.
 */
const known: readonly FailureKind[] = [
  {
    name: 'out of memory',
    match:
      /Killed signal terminated program|virtual memory exhausted|Cannot allocate memory|std::bad_alloc|out of memory\b|^(?:g?make|ninja).*\bKilled\b|MemoryError/i,
    retries: 2,
    fewerJobs: true,
  },
  { name: 'disk', match: /No space left on device|Disk quota exceeded|Read-only file system/, retries: 0 },
  { name: 'checksum', match: /ChecksumError\b|checksum failed for/, retries: 1 },
  {
    name: 'fetch',
    match:
      /FetchError\b|All fetchers failed|HTTP Error (?:429|5\d\d)|Temporary failure in name resolution|Connection (?:reset|refused|timed out)|curl: \(\d+\)|fatal: unable to access/,
    retries: 3,
  },
  {
    name: 'missing dependency',
    match: /No binary found when cache-only|NoBinaryFound|no binary found/i,
    retries: 0,
  },
  { name: 'lock', match: /LockTimeoutError|Timed out waiting for .*lock/, retries: 1 },
  { name: 'test', match: /TestFailure\b|^\d+ failed, .* of \d+ specs?|tests? failed\b/i, retries: 0 },
  {
    name: 'configure',
    match:
      /^configure: error:|^CMake Error\b|^meson\.build:\d+.*ERROR|Executing phase: '(?:autoreconf|configure|cmake)'.*Error/,
    retries: 0,
  },
  {
    name: 'compiler',
    match: /\b(?:fatal |internal compiler )?error(?: ?#?\d+)?: |undefined reference to|^\S*ld: /,
    retries: 0,
  },
];

/** Kinds that no line tells: how the command ended does. */
const byCode: Readonly<Partial<Record<SpackError['code'], FailureKind>>> = {
  'timed-out': { name: 'time-out', retries: 0 },
  silent: { name: 'silence', retries: 0 },
  'resident-ended': { name: 'Spack ended', retries: 1 },
};
const killed: FailureKind = { name: 'killed', retries: 1, fewerJobs: true };
const other: FailureKind = { name: 'other', retries: 0 };

/** What a failed build left in its log. */
export interface FailureReport {
  readonly kind: FailureKind;
  readonly first: FirstError | undefined;
}

/**
 * Reads why a build failed from the log that it left: the whole of it, in pieces.
 * @param start byte of the log at which the attempt starts
 */
export async function reportFailure(
  error: unknown,
  log: string,
  start: number,
  settings: StackSettings['failures'],
): Promise<FailureReport> {
  const kinds = kindsOf(settings);
  let best = kinds.length;
  let reader: LogReader | undefined;
  for await (const { text, line } of readBlocks(log, start)) {
    reader ??= new LogReader({ line });
    reader.add(text);
    for (const [at, { match }] of kinds.slice(0, best).entries()) {
      if (match?.test(text)) {
        best = at;
        break;
      }
    }
  }
  return { kind: kindByEnd(error, settings) ?? kinds[best] ?? other, first: firstErrorOf(reader) };
}

/** The kinds with what a stack changes and adds. A pattern is tried on each line. */
function kindsOf(settings: StackSettings['failures']): FailureKind[] {
  const own = Object.entries(settings).filter(([name]) => !known.some((kind) => kind.name === name));
  const all: FailureKind[] = [...own.map(([name]) => ({ name, retries: 0 })), ...known];
  return all.map((kind) => {
    const changed = withSettings(kind, settings);
    const { match } = changed;
    return match
      ? { ...changed, match: new RegExp(match.source, `${match.flags.replace('m', '')}m`) }
      : changed;
  });
}

function withSettings(kind: FailureKind, settings: StackSettings['failures']): FailureKind {
  const { match, retries, fewerJobs } = settings[kind.name] ?? {};
  return {
    name: kind.name,
    match: match === undefined ? kind.match : new RegExp(match),
    retries: retries ?? kind.retries,
    fewerJobs: fewerJobs ?? kind.fewerJobs,
  };
}

function kindByEnd(error: unknown, settings: StackSettings['failures']): FailureKind | undefined {
  if (!(error instanceof SpackError)) return undefined;
  const kind = error.details.signal === constants.signals.SIGKILL ? killed : byCode[error.code];
  return kind && withSettings(kind, settings);
}

/** Lines that are kept on each side of an error. */
const context = 3;

function firstErrorOf(reader: LogReader | undefined): FirstError | undefined {
  const cause = reader?.end().cause;
  return (
    cause && {
      line: cause.line,
      text: withoutPadding(cause.text),
      before: cause.before.slice(-context).map(withoutPadding),
      after: cause.after.slice(0, context).map(withoutPadding),
    }
  );
}

/** A failure as the record holds it. What a failed build printed may hold what it found in its surroundings. */
export function recordFailure(
  { kind, attempts, message, first }: FailedBuild,
  secrets: readonly string[],
): JobFailure {
  const clean = (text: string) => withoutSecrets(text, secrets);
  return {
    kind,
    attempts,
    message: clean(message),
    text: clean(first?.text ?? message),
    line: first?.line,
    before: first?.before.map(clean),
    after: first?.after.map(clean),
  };
}
