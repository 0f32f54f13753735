import { describeError, kindOf } from '../error.js';

/** What one check found. */
export interface Diagnosis {
  /** What was checked: `Spack`, `mirror site`. */
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
  fix,
});
export const problem = (what: string, message: string, fix?: string): Diagnosis => ({
  what,
  state: 'problem',
  message,
  fix,
});

/** Runs a check, and makes a problem of what goes wrong: the first line says what it is, the others what to do. */
export async function checking(
  what: string,
  check: () => Promise<Diagnosis | readonly Diagnosis[]>,
): Promise<readonly Diagnosis[]> {
  try {
    const found = await check();
    return Array.isArray(found) ? found : [found as Diagnosis];
  } catch (error) {
    if (kindOf(error) === 'interrupted') throw error;
    const [message = '', ...fix] = describeError(error).split('\n');
    return [problem(what, message, fix.join(' '))];
  }
}
