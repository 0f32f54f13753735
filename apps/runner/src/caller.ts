import { type Caller, silent } from '@stackwright/stack';
import type { Context } from './context.js';
import { displayFor } from './progress.js';

export interface CallerOptions {
  /** Show no progress: stdout is read by a program. */
  readonly quiet?: boolean;
  /** Lines only, also on a terminal. */
  readonly plain?: boolean;
}

/** The context as the driver sees it. */
export function callerOf(context: Context, { quiet = false, plain }: CallerOptions = {}): Caller {
  const { env, cwd, signal } = context;
  const display = displayFor(context, { plain });
  return {
    env,
    cwd,
    signal,
    note: (line) => display.note(line),
    progress: quiet || context.quiet ? silent : display,
  };
}
