import type { FailedBuild } from '@stackwright/stack';

/** What failed in one line: its kind, the number of attempts, and the first error. */
export function failureLine({ kind, attempts, message }: FailedBuild): string {
  return `(${kind}${attempts > 1 ? `, ${attempts} attempts` : ''}): ${message}`;
}

/**
 * The first error of a failed build's log with the lines around it, where the log is, and how to repeat the build.
 */
export function failureDetails({ first, log, repeat }: FailedBuild): string {
  const around = first
    ? [
        `    line ${first.line}:`,
        ...first.before.map((line) => `      ${line}`),
        `    > ${first.text}`,
        ...first.after.map((line) => `      ${line}`),
      ]
    : [];
  return [...around, `    log:    ${log}`, ...(repeat ? [`    repeat: ${repeat}`] : [])].join('\n');
}
