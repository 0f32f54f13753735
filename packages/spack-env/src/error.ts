/** A place in a text: `line` and `column` count from 1; `offset` from 0 in UTF-16 units. */
export interface Position {
  readonly file?: string;
  readonly line: number;
  readonly column: number;
  readonly offset?: number;
}

/** One thing that is wrong with an input, with what to do about it. */
export interface Finding {
  readonly severity: 'error' | 'warning' | 'note';
  /** Stable and machine-readable, for example `unknown-key`. */
  readonly code: string;
  /** One sentence for a person, without the position. */
  readonly message: string;
  readonly position?: Position;
  /** What to do, where that is not plain from the message. */
  readonly hint?: string;
  /** The piece of the input that is wrong. */
  readonly text?: string;
  /** What was probably meant: the nearest key, value or name that is known. */
  readonly nearest?: string;
}

/**
 * The only error that this package throws for bad input: one or several findings at once. A single finding gives the
 * message and the hint; of several, the message has a line each, with their hints.
 */
export class SpackEnvError extends Error {
  override readonly name = 'SpackEnvError';
  /** This package reads what it is given and nothing else, so every error is one of the input. */
  readonly kind = 'input';
  /** The code of the first finding. */
  readonly code: string;
  readonly hint: string | undefined;
  readonly findings: readonly Finding[];

  constructor(findings: readonly Finding[] | Finding, options?: ErrorOptions) {
    const all = Array.isArray(findings) ? (findings as readonly Finding[]) : [findings as Finding];
    const { message, hint } = describeFindings(all);
    super(message, options);
    this.code = all[0]?.code ?? 'bad-input';
    this.hint = hint;
    this.findings = all;
  }
}

/** Findings as the message and the hint of an error. */
export function describeFindings(findings: readonly Finding[]): {
  readonly message: string;
  readonly hint: string | undefined;
} {
  const [first, ...more] = findings;
  if (!first || more.length > 0) {
    return { message: findings.map(formatFinding).join('\n'), hint: undefined };
  }
  return { message: formatFinding({ ...first, hint: undefined }), hint: first.hint };
}

/** `file:line:column: message hint`, leaving out what is not known. */
export function formatFinding(finding: Finding): string {
  const { position } = finding;
  const where = position
    ? `${position.file ? `${position.file}:` : ''}${position.line}:${position.column}: `
    : '';
  return `${where}${finding.message}${finding.hint ? ` ${finding.hint}` : ''}`;
}
