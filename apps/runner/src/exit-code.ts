/** The exit codes of every command. */
export const exitCode = { done: 0, failed: 1, input: 2, missing: 3, interrupted: 130 } as const;
