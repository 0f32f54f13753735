import { type Finding, formatFinding } from '@stackwright/spack-env';

/** The only error that this package throws for bad input or a graph that cannot be run. */
export class JobGraphError extends Error {
  override readonly name = 'JobGraphError';
  /** All that is wrong, where several things can be. */
  readonly findings: readonly Finding[] = [];

  /**
   * @param kind `input`: what was given is wrong; `missing`: something needed is not there; `failed`: the work failed
   * @param code stable and machine-readable, for example `cycle`
   * @param hint what to do about it
   */
  constructor(
    readonly kind: 'input' | 'missing' | 'failed',
    readonly code: string,
    message: string,
    readonly hint?: string,
    options?: ErrorOptions & { readonly findings?: readonly Finding[] },
  ) {
    super(message, options);
    if (options?.findings) this.findings = options.findings;
  }

  /** Several findings about one input as one error. */
  static of(findings: readonly Finding[]): JobGraphError {
    const message = findings.map(formatFinding).join('\n');
    return new JobGraphError('input', findings[0]?.code ?? 'bad-input', message, undefined, { findings });
  }
}
