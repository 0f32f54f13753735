import type { LoadOptions } from '@stackwright/spack-env';
import type { Command } from 'commander';
import type { Context } from './context.js';
import { RunnerError } from './exit.js';

/** What Spack would call the machine that a stack is read for. */
export interface StackOptions {
  readonly platform?: string;
  readonly os?: string;
  readonly target?: string;
  readonly spack?: string;
}

/** Adds the options that say how a stack is read. */
export function stackOptions(command: Command): Command {
  return command
    .option('--platform <name>', 'read the stack as on this platform (linux, darwin, windows)')
    .option('--os <name>', 'read the stack as on this operating system (debian12, rhel9)')
    .option('--target <name>', 'read the stack as on this target (zen2, x86_64_v3)')
    .option(
      '--spack <version>',
      'read specs as this Spack does (0.23, 1.1); known from the stack when left out',
    );
}

/** Which Spack builds: the variables of these names, as options. */
export interface SpackOptions {
  readonly spackRepo?: string;
  readonly spackRef?: string;
}

/** Adds the options that say which Spack builds. */
export function spackOptions(command: Command): Command {
  return command
    .option('--spack-repo <url>', "repository to clone Spack from (SPACK_REPO; default: Spack's own)")
    .option(
      '--spack-ref <ref>',
      'branch, tag or commit of Spack (SPACK_REF; default: the Spack that wrote spack.lock)',
    );
}

/** The context in which the options stand for the variables. */
export function withSpack(context: Context, { spackRepo, spackRef }: SpackOptions): Context {
  const env = { ...context.env };
  if (spackRepo !== undefined) env.SPACK_REPO = spackRepo;
  if (spackRef !== undefined) env.SPACK_REF = spackRef;
  return { ...context, env };
}

/** The library's options for what was given on the command line. */
export function loadOptions(options: StackOptions, context: Context): LoadOptions {
  const { platform, os, target, spack } = options;
  if (spack !== undefined && !/^v?\d+(\.\d+)*/.test(spack)) {
    throw new RunnerError('usage', `--spack ${spack} is no version.`, {
      hint: 'Give one such as 0.23 or 1.1.',
    });
  }
  return {
    host: { platform, os, target },
    env: context.env,
    dialect: spack === undefined ? undefined : /^v?0\./.test(spack) ? '0.x' : '1.x',
    signal: context.signal,
  };
}
