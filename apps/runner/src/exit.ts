import { type ErrorKind, kindOf } from '@stackwright/stack';
import { exitCode } from './exit-code.js';

/** Why a command line could not be carried out, or that its result is a bad one. */
export type RunnerErrorCode =
  /** Options or arguments that do not go together or mean nothing. */
  | 'usage'
  /** No key is given. */
  | 'no-key'
  /** A registry does not have an image. */
  | 'no-image'
  /** A file is there already. */
  | 'exists'
  /** A variable that an option names is not set. */
  | 'no-variable'
  /** A stack has errors. */
  | 'findings'
  /** `doctor` found what will make the stack's work fail. */
  | 'problems'
  /** Some packages of many failed. */
  | 'some-failed'
  /** What packages failed for is the same missing thing. */
  | 'all-missing';

const kinds: Readonly<Record<RunnerErrorCode, ErrorKind>> = {
  usage: 'input',
  'no-key': 'missing',
  'no-image': 'missing',
  exists: 'input',
  'no-variable': 'missing',
  findings: 'input',
  problems: 'failed',
  'some-failed': 'failed',
  'all-missing': 'missing',
};

/** An error that the command line itself raises. Packages have their own classes of the same shape. */
export class RunnerError extends Error {
  override readonly name = 'RunnerError';
  readonly kind: ErrorKind;
  readonly hint: string | undefined;

  constructor(
    readonly code: RunnerErrorCode,
    message: string,
    readonly details: { readonly hint?: string } = {},
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.kind = kinds[code];
    this.hint = details.hint;
  }
}

/** The exit code for whatever was thrown. */
export function exitCodeOf(error: unknown): number {
  return exitCode[kindOf(error)];
}
