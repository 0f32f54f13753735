/** Why Spack could not be found or did not do what it was asked. */
export type SpackErrorCode =
  /** There is no Spack on this machine, and none was named that could be cloned. */
  | 'no-spack'
  /** `SPACK_REPO` names a repository, and nothing says which Spack of it is meant. */
  | 'no-choice'
  /** git is not installed. */
  | 'no-git'
  /** git could not get a branch, tag or commit of Spack's repository. */
  | 'no-reference'
  /** There is a Spack that does not run. */
  | 'broken-spack'
  /** A Spack command ran and failed. */
  | 'command-failed'
  /** A Spack command took longer than it may. */
  | 'timed-out'
  /** A Spack command printed nothing for longer than it may. */
  | 'silent'
  /** The Spack that runs commands ended by itself. */
  | 'resident-ended'
  /** Builds are to be kept from seeing other processes, and nothing here can do that. */
  | 'no-sandbox';

const kinds: Record<SpackErrorCode, SpackError['kind']> = {
  'no-spack': 'missing',
  'no-choice': 'input',
  'no-git': 'missing',
  'no-reference': 'missing',
  'broken-spack': 'missing',
  'command-failed': 'failed',
  'timed-out': 'failed',
  silent: 'failed',
  'resident-ended': 'failed',
  'no-sandbox': 'missing',
};

/** The only error that this package throws, but for an `AbortError` when the caller's signal fires. */
export class SpackError extends Error {
  override readonly name = 'SpackError';
  /** `input`: bad input; `missing`: something needed is not there; `failed`: the work failed. */
  readonly kind: 'input' | 'missing' | 'failed';
  readonly hint: string | undefined;

  constructor(
    readonly code: SpackErrorCode,
    message: string,
    readonly details: {
      readonly hint?: string;
      readonly log?: string;
      readonly exitCode?: number;
      readonly signal?: number;
    } = {},
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.kind = kinds[code];
    this.hint = details.hint;
  }
}
