import type { JobFailure } from '@stackwright/report';

/** What failed in one line: its kind, the number of attempts, and the first error. */
export function failureLine({ kind = 'build', attempts = 1, message, text }: JobFailure): string {
  return `(${kind}${attempts > 1 ? `, ${attempts} attempts` : ''}): ${message ?? text}`;
}

/**
 * The first error of a failed build's log with the lines around it, where the log is, and how to repeat the build.
 */
export function failureDetails(
  { line, text, before = [], after = [] }: JobFailure,
  { log, repeat }: { readonly log?: string; readonly repeat?: string },
): string {
  const around =
    line === undefined
      ? []
      : [
          `    line ${line}:`,
          ...before.map((one) => `      ${one}`),
          `    > ${text}`,
          ...after.map((one) => `      ${one}`),
        ];
  return [
    ...around,
    ...(log ? [`    log:    ${log}`] : []),
    ...(repeat ? [`    repeat: ${repeat}`] : []),
  ].join('\n');
}
