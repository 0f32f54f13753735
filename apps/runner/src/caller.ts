import { type Caller, silent } from '@stackwright/stack';
import { type Context, note } from './context.js';
import { progressFor } from './progress.js';

/** The context as the driver sees it. @param options.quiet show no progress: stdout is read by a program */
export function callerOf(context: Context, { quiet = false }: { readonly quiet?: boolean } = {}): Caller {
  const { env, cwd, signal } = context;
  return {
    env,
    cwd,
    signal,
    note: (line) => note(context, line),
    progress: quiet || context.quiet ? silent : progressFor(context),
  };
}
