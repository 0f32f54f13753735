/** The exit codes of every command. */
export const exitCode = { done: 0, failed: 1, input: 2, missing: 3, interrupted: 130 } as const;

/** `input`: wrong usage or bad input; `missing`: something needed is not there; `failed`: the work failed. */
export type ErrorKind = 'input' | 'missing' | 'failed';

/** An error that the runner itself raises. Packages have their own classes, with the same `kind`. */
export class RunnerError extends Error {
  override readonly name = 'RunnerError';
  constructor(
    readonly kind: ErrorKind,
    message: string,
    readonly hint?: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** The exit code for whatever was thrown: by its `kind`, else by what the system said, else 1. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof Error) {
    const { kind, code } = error as { kind?: unknown; code?: unknown };
    if (kind === 'input' || kind === 'missing' || kind === 'failed') return exitCode[kind];
    if (error.name === 'AbortError') return exitCode.interrupted;
    if (error.name === 'SpackEnvError') return exitCode.input;
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'EISDIR') return exitCode.input;
  }
  return exitCode.failed;
}

/** What a person reads of an error: its message and hint, never a stack trace. */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { hint, code, path } = error as { hint?: unknown; code?: unknown; path?: unknown };
  if (code === 'ENOENT' && typeof path === 'string') return `${path}: no such file or folder.`;
  return typeof hint === 'string' && !error.message.endsWith(hint)
    ? `${error.message}\n${hint}`
    : error.message;
}
