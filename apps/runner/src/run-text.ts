import { duration } from '@stackwright/job-graph';
import type { RunSummary } from '@stackwright/stack';
import { failureDetails, failureLine } from './failure-text.js';

/** What a run came to: how many packages ended how, and each failure with its first error. */
export function runText({ jobs, seconds }: RunSummary): string {
  const count = (...states: RunSummary['jobs'][number]['state'][]) =>
    String(jobs.filter(({ state }) => states.includes(state)).length);
  const rows = [
    ['built', count('done')],
    ['reused', count('reused')],
    ['failed', count('failed')],
    ['blocked', count('blocked')],
    ['not started', count('cancelled')],
    ['time', duration(seconds)],
  ].filter(([name, value]) => name !== 'not started' || value !== '0');
  const failures = jobs.flatMap(({ name, version, hash, failure }) =>
    failure
      ? [`✗ ${name}@${version}/${hash.slice(0, 7)} ${failureLine(failure)}\n${failureDetails(failure)}`]
      : [],
  );
  return [...failures, rows.map(([name = '', value]) => `${name.padEnd(12)}${value}`).join('\n')].join(
    '\n\n',
  );
}
