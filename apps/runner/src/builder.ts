import { type Caller, inGroups, openStack, type Stack } from '@stackwright/stack';
import { callerOf } from './caller.js';
import type { Context } from './context.js';
import { type AllowOptions, includeRule, withAllowed } from './options.js';
import { type SpackOptions, withSpack } from './stack-options.js';

/** What commands that build are given to find their Spack, their stack and what of it they build. */
export interface BuilderOptions extends SpackOptions, AllowOptions {
  readonly json?: boolean;
  readonly plain?: boolean;
  readonly group: readonly string[];
  readonly offline?: boolean;
}

/** The caller of a command that builds. */
export function builderOf(context: Context, options: BuilderOptions): Caller {
  const { json, plain } = options;
  return callerOf(withAllowed(withSpack(context, options), options), { quiet: json, plain });
}

/** The groups of a stack that the options choose. */
export async function openGroups(
  caller: Caller,
  argument: string,
  options: Pick<BuilderOptions, 'group' | 'offline'>,
): Promise<Stack> {
  return inGroups(await openStack(caller, argument, { includes: includeRule(options) }), options.group);
}
