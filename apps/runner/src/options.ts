import { Option } from 'commander';

/** Makes a list of an option that may be given several times. */
export function collect(value: string, all: readonly string[]): string[] {
  return [...all, value];
}

/** `--group`, which may be given several times. @param description what becomes of the groups */
export function groupOption(description: string): Option {
  const option = new Option('--group <name>', `${description} (repeatable)`).argParser(collect);
  // The help text shows defaults as JSON; an empty list says nothing there.
  return option.default([], 'all');
}
