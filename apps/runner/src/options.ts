import type { IncludeRule } from '@stackwright/stack';
import { Option } from 'commander';
import type { Context } from './context.js';

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

/** `--allow-variable`: which server that the stack names may have which variable. */
export function allowOption(): Option {
  const option = new Option(
    '--allow-variable <name=host>',
    'also in a pull request, send this variable to this host when the stack asks for it (STACKWRIGHT_ALLOW; repeatable)',
  ).argParser(collect);
  return option.default([], 'none');
}

export interface AllowOptions {
  readonly allowVariable: readonly string[];
}

/** The context in which the option stands beside the variable. */
export function withAllowed(context: Context, { allowVariable }: AllowOptions): Context {
  if (allowVariable.length === 0) return context;
  const STACKWRIGHT_ALLOW = [context.env.STACKWRIGHT_ALLOW, ...allowVariable].filter(Boolean).join(',');
  return { ...context, env: { ...context.env, STACKWRIGHT_ALLOW } };
}
