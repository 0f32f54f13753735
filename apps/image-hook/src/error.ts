/** Why the hook could not do its work. */
export class HookError extends Error {
  override readonly name = 'HookError';
  constructor(
    readonly kind: 'input' | 'missing' | 'failed',
    message: string,
    hint?: string,
  ) {
    super(hint ? `${message} ${hint}` : message);
  }
}
