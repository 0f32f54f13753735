/** Why the hook could not do its work. */
export type HookErrorCode =
  /** The environment is of no service that is known, and nothing is named to publish. */
  | 'unknown-service'
  /** The environment does not say which repository or image to publish. */
  | 'no-repository'
  /** Options that belong together were not given together. */
  | 'incomplete'
  /** A Dockerfile's build has no mirror to read. */
  | 'no-mirror'
  /** A variable that is to be a secret of a build is not set. */
  | 'no-secret'
  /** docker is not there. */
  | 'docker-missing'
  /** docker refused the image. */
  | 'docker-failed';

const kinds: Readonly<Record<HookErrorCode, 'input' | 'missing' | 'failed'>> = {
  'unknown-service': 'input',
  'no-repository': 'input',
  incomplete: 'input',
  'no-mirror': 'input',
  'no-secret': 'missing',
  'docker-missing': 'missing',
  'docker-failed': 'failed',
};

/** The error of this package. */
export class HookError extends Error {
  override readonly name = 'HookError';
  readonly kind: 'input' | 'missing' | 'failed';
  readonly hint: string | undefined;

  constructor(
    readonly code: HookErrorCode,
    message: string,
    readonly details: { readonly hint?: string } = {},
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.kind = kinds[code];
    this.hint = details.hint;
  }
}
