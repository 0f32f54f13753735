import { secretsOf, withoutSecrets } from '@stackwright/stack';
import { visible } from './control-characters.js';

/** What a command may touch of the process around it; tests give their own. */
export interface Context {
  /** Results only. */
  readonly stdout: NodeJS.WritableStream;
  /** Everything else: progress, notes, warnings, errors. */
  readonly stderr: NodeJS.WritableStream & { readonly isTTY?: boolean; readonly columns?: number };
  readonly stdin: NodeJS.ReadableStream;
  readonly env: NodeJS.ProcessEnv;
  readonly cwd: string;
  /** Aborted on the first ctrl-C or SIGTERM. */
  readonly signal: AbortSignal;
}

/**
 * Prints `text` and a line break to stdout. Secrets of the environment are taken out, and control sequences, which names
 * and messages of others may hold, are shown instead of sent.
 */
export function print(context: Context, text: string): void {
  const clean = shown(context, text);
  context.stdout.write(clean.endsWith('\n') ? clean : `${clean}\n`);
}

/** Prints one JSON document to stdout, without secrets of the environment. */
export function printJson(context: Context, value: unknown): void {
  const secrets = secretsOf(context.env);
  const clean = (_key: string, one: unknown) =>
    typeof one === 'string' ? withoutSecrets(one, secrets) : one;
  // What is written out here is an escape of JSON too, so that programs read the same text.
  context.stdout.write(visible(`${JSON.stringify(value, clean, 2)}\n`));
}

/** Prints what was asked for as it is: a secret key for the one who makes or exports it. */
export function printSecret(context: Context, text: string): void {
  context.stdout.write(text.endsWith('\n') ? text : `${text}\n`);
}

/** Prints a line for a person to stderr, as `print` does. */
export function note(context: Context, text: string): void {
  context.stderr.write(`${shown(context, text)}\n`);
}

/** A text as a person gets to see it: no secret of the environment, no control sequence. */
export function shown({ env }: Context, text: string): string {
  return visible(withoutSecrets(text, secretsOf(env)));
}
