/** Makes a list of an option that may be given several times. */
export function collect(value: string, all: readonly string[]): string[] {
  return [...all, value];
}
