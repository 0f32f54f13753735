import { type Caller, silent } from '@stackwright/stack';
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
  context.stdout.write(text.endsWith('\n') ? text : `${text}\n`);
}

/** Prints one JSON document to stdout. */
export function printJson(context: Context, value: unknown): void {
  context.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}

/** Prints a line for a person to stderr. */
export function note(context: Context, text: string): void {
  context.stderr.write(`${text}\n`);
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
