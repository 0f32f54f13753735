import { describeError, exitCode, exitCodeOf } from '../exit.js';

/** What one look at something found. */
export interface Diagnosis {
  /** What was looked at: `Spack`, `mirror site`. */
  readonly what: string;
  /** `warning`: something will not work that not everybody needs; `problem`: the stack's own work will fail. */
  readonly state: 'ok' | 'warning' | 'problem';
  readonly message: string;
  /** What to do. */
  readonly fix?: string;
}

export const ok = (what: string, message: string): Diagnosis => ({ what, state: 'ok', message });
export const warning = (what: string, message: string, fix?: string): Diagnosis => ({
  what,
  state: 'warning',
  message,
  ...(fix ? { fix } : {}),
});
export const problem = (what: string, message: string, fix?: string): Diagnosis => ({
  what,
  state: 'problem',
  message,
  ...(fix ? { fix } : {}),
});

/** Looks, and makes a problem of what goes wrong: the first line says what it is, the others what to do. */
export async function looking(
  what: string,
  look: () => Promise<Diagnosis | readonly Diagnosis[]>,
): Promise<readonly Diagnosis[]> {
  try {
    const found = await look();
    return Array.isArray(found) ? found : [found as Diagnosis];
  } catch (error) {
    if (exitCodeOf(error) === exitCode.interrupted) throw error;
    const [message = '', ...fix] = describeError(error).split('\n');
    return [problem(what, message, fix.join(' '))];
  }
}
