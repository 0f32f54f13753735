import { type Caller, silent } from '../src/index.js';

/** A caller in a folder with an environment of its own; what it is told goes to `notes`. */
export function callerIn(
  cwd: string,
  env: NodeJS.ProcessEnv = { PATH: '/usr/bin:/bin', HOME: cwd },
): Caller & { readonly notes: readonly string[] } {
  const notes: string[] = [];
  return {
    cwd,
    env,
    signal: new AbortController().signal,
    progress: silent,
    notes,
    note: (line) => void notes.push(line),
  };
}
