import { type Caller, silent } from '@stackwright/stack';
import { visible } from './control-characters.js';
import { progressFor } from './progress.js';

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

/** Prints `text` and a line break to stdout. */
export function print(context: Context, text: string): void {
  context.stdout.write(visible(text.endsWith('\n') ? text : `${text}\n`));
}

/** Prints one JSON document to stdout. */
export function printJson(context: Context, value: unknown): void {
  // What is written out here is an escape of JSON too, so that programs read the same text.
  context.stdout.write(visible(`${JSON.stringify(value, null, 2)}\n`));
}

/** Prints a line for a person to stderr. */
export function note(context: Context, text: string): void {
  context.stderr.write(`${visible(text)}\n`);
}

/** The context as the driver sees it. @param options.quiet show no progress: stdout is read by a program */
export function callerOf(context: Context, { quiet = false }: { readonly quiet?: boolean } = {}): Caller {
  const { env, cwd, signal } = context;
  return {
    env,
    cwd,
    signal,
    note: (line) => note(context, line),
    progress: quiet ? silent : progressFor(context),
  };
}
