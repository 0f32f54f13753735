import type { IncludeRule } from '@stackwright/stack';
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

/** `--offline`, for commands that read the manifest and may fetch what it includes. */
export function offlineOption(): Option {
  return new Option('--offline', 'fetch no includes: read those by git and URL from the cache only');
}

/** How a command gets what the manifest includes from elsewhere. */
export function includeRule({ offline }: { readonly offline?: boolean }): IncludeRule {
  return offline ? 'offline' : 'fetch';
}

/** `--sandbox`, for commands that build. */
export function sandboxOption(): Option {
  const option = new Option(
    '--sandbox <choice>',
    'keep builds from seeing other processes: auto does where the kernel allows it',
  );
  return option.choices(['auto', 'on', 'off']).default('auto');
}
