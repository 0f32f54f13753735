import { appendFile, stat } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { setTimeout as wait } from 'node:timers/promises';
import { type Limits, withoutPadding } from '@stackwright/spack';
import type { StackSettings } from '@stackwright/spack-env';
import { type FailedBuild, StackError } from '../error.js';
import { type FailureReport, reportFailure } from './failure.js';

/** Codes of errors that say more than any line of the log. */
const saysMore: ReadonlySet<unknown> = new Set(['timed-out', 'silent', 'resident-ended']);

/** What each build of a run is held to. */
export interface BuildLimits extends Limits {
  /** Processes of one build; Spack's own choice when left out. */
  readonly buildJobs?: number;
}

/** How one attempt is made. */
export interface Attempt {
  /** From 1. */
  readonly number: number;
  /** Processes of the build; undefined for Spack's own choice. */
  readonly jobs: number | undefined;
}

export interface AttemptOptions {
  readonly limits: BuildLimits;
  readonly failures: StackSettings['failures'];
  readonly log: string;
  readonly signal: AbortSignal;
  /** Told before another attempt. */
  readonly onRetry: (report: FailureReport, error: unknown) => void;
}

/**
 * Makes an attempt, and others as long as the kind of failure is worth it. Whatever the attempts print is in one log.
 * @throws StackError `build-failed` with what is known of the failure; AbortError when the signal fires
 */
export async function attempt(
  work: (how: Attempt) => Promise<void>,
  { limits, failures, log, signal, onRetry }: AttemptOptions,
): Promise<void> {
  let jobs = limits.buildJobs;
  const made = new Map<string, number>();
  for (let number = 1; ; number += 1) {
    const start = number === 1 ? 0 : (await stat(log).catch(() => ({ size: 0 }))).size;
    try {
      return await work({ number, jobs });
    } catch (error) {
      signal.throwIfAborted();
      const report = await reportFailure(error, log, start, failures);
      const { name, retries, fewerJobs } = report.kind;
      const again = (made.get(name) ?? 0) + 1;
      if (again > retries) throw failed(report, number, log, error);
      made.set(name, again);
      if (fewerJobs) jobs = Math.max(1, Math.floor((jobs ?? availableParallelism()) / 2));
      onRetry(report, error);
      await appendFile(
        log,
        `\n==> stackwright: attempt ${number + 1} after a failure of the kind "${name}"\n`,
      );
      // A server that is overloaded gets more time with each attempt.
      await wait(1000 * 2 ** (again - 1), undefined, { signal });
    }
  }
}

function failed({ kind, first }: FailureReport, attempts: number, log: string, cause: unknown): StackError {
  // What Spack says at the end is wrapped and shortened; the log has the line itself.
  const said = saysMore.has((cause as { code?: unknown }).code) ? undefined : first?.text.trim();
  const message = said ?? withoutPadding((cause as Error).message);
  const failure: FailedBuild = { kind: kind.name, attempts, message, log, first };
  return new StackError('build-failed', message, { hint: `Log: ${log}`, failure }, { cause });
}
