/** Why a stack could not be taken further. */
export type StackErrorCode =
  /** A folder without `spack.yaml`, or no folder at all. */
  | 'not-a-stack'
  /** `spack.lock` is absent: the stack is not concretized. */
  | 'not-concretized'
  /** `spack.yaml` was changed after it was concretized. */
  | 'stale-lock'
  /** No mirror is named that the work needs. */
  | 'no-mirror'
  /** Nobody is named whose signatures count. */
  | 'no-trusted-key'
  /** Something has to be signed and there is no key. */
  | 'no-signing-key'
  /** A variable may not be sent to a server. */
  | 'credential'
  /** A file of keys may not be used as it is. */
  | 'key-file'
  /** A name, hash or option that stands for nothing, or for too much. */
  | 'no-such-package'
  /** An option, name or variable with a value that cannot be meant. */
  | 'bad-value'
  /** Packages were not built. */
  | 'build-failed'
  /** Specs to be built are known to be broken. */
  | 'broken-specs'
  /** Packages that are asked for are not in the mirror. */
  | 'incomplete'
  /** No package repository of the stack is under version control. */
  | 'no-history'
  /** A file of the work folder cannot be read. */
  | 'work-folder'
  /** Another run works in the work folder. */
  | 'in-use'
  /** A report was not taken. */
  | 'not-reported'
  /** Nobody is named to report to. */
  | 'nobody-to-report-to'
  /** A forge does not take a status on a commit. */
  | 'status-refused'
  /** What a manifest includes from elsewhere could not be had. */
  | 'not-fetched'
  /** What a manifest includes from elsewhere is not in the cache, and nothing may be fetched. */
  | 'not-cached'
  /** git or another program is missing or refused. */
  | 'program'
  /** A file is there already. */
  | 'exists';

/** `input`: bad input or usage; `missing`: something needed is not there; `failed`: the work failed. */
export type ErrorKind = 'input' | 'missing' | 'failed';

const kinds: Readonly<Record<StackErrorCode, ErrorKind>> = {
  'not-a-stack': 'input',
  'not-concretized': 'input',
  'stale-lock': 'input',
  'no-mirror': 'input',
  'no-trusted-key': 'input',
  'no-signing-key': 'missing',
  credential: 'input',
  'key-file': 'input',
  'no-such-package': 'input',
  'bad-value': 'input',
  'build-failed': 'failed',
  'broken-specs': 'failed',
  incomplete: 'missing',
  'no-history': 'missing',
  'work-folder': 'input',
  'in-use': 'failed',
  'not-reported': 'failed',
  'nobody-to-report-to': 'input',
  'status-refused': 'missing',
  'not-fetched': 'missing',
  'not-cached': 'missing',
  program: 'missing',
  exists: 'input',
};

/** The first line of a build's output that says what is wrong, with what stands around it. */
export interface FirstError {
  /** In the log, from 1. */
  readonly line: number;
  readonly text: string;
  readonly before: readonly string[];
  readonly after: readonly string[];
}

/** What is known of a build that failed. */
export interface FailedBuild {
  /** `fetch`, `compiler`, `time-out`, … */
  readonly kind: string;
  readonly attempts: number;
  /** What is wrong, in a line or a few. */
  readonly message: string;
  /** File with what it printed. */
  readonly log: string;
  readonly first: FirstError | undefined;
  /** The command that builds it again; absent where what it needs could not be kept. */
  readonly repeat?: string;
}

/** The error of this package. Other packages' errors pass through it as they are. */
export class StackError extends Error {
  override readonly name = 'StackError';
  readonly kind: ErrorKind;
  readonly hint: string | undefined;

  constructor(
    readonly code: StackErrorCode,
    message: string,
    readonly details: {
      readonly hint?: string;
      readonly file?: string;
      readonly failure?: FailedBuild;
    } = {},
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.kind = kinds[code];
    this.hint = details.hint;
  }
}

/** What kind of failure something is that was thrown by any package of this workspace or by Node. */
export function kindOf(error: unknown): ErrorKind | 'interrupted' {
  if (!(error instanceof Error)) return 'failed';
  const { kind, code } = error as { kind?: unknown; code?: unknown };
  if (kind === 'input' || kind === 'missing' || kind === 'failed') return kind;
  if (error.name === 'AbortError') return 'interrupted';
  if (error.name === 'SpackEnvError') return 'input';
  if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'EISDIR') return 'input';
  return 'failed';
}

/** What an error says of a build that failed; undefined for errors that are about something else. */
export function failureIn(error: unknown): FailedBuild | undefined {
  return error instanceof StackError ? error.details.failure : undefined;
}

/** What a person reads of an error: its message and hint, never a stack trace. */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { hint, code, path } = error as { hint?: unknown; code?: unknown; path?: unknown };
  if (code === 'ENOENT' && typeof path === 'string') return `${path}: no such file or folder.`;
  return typeof hint === 'string' ? `${error.message}\n${hint}` : error.message;
}
