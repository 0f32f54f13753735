import type { IncludeRule } from '@stackwright/stack';
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { Context } from './context.js';
import { RunnerError } from './exit.js';

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

/** `--sandbox`, for commands that build. */
export function sandboxOption(): Option {
  const option = new Option(
    '--sandbox <choice>',
    'keep builds from seeing other processes: auto does where the kernel allows it',
  );
  return option.choices(['auto', 'on', 'off']).default('auto');
}

/** Seconds of a time such as `90s`, `30m`, `2h`, `1d`, `4w`. */
export function timeSpan(text: string): number {
  const match = /^(\d+(?:\.\d+)?)([smhdw])$/.exec(text);
  const unit = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 }[match?.[2] ?? ''];
  if (!match || unit === undefined) {
    throw new RunnerError('usage', `"${text}" is no time.`, {
      hint: 'Write a number and s, m, h, d or w: 30d',
    });
  }
  return Number(match[1]) * unit;
}

/** A day or a point in time. */
export function pointInTime(text: string): Date {
  const form = /^\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d))?$/;
  const time = new Date(form.test(text) ? text : Number.NaN);
  if (!Number.isNaN(time.getTime())) return time;
  throw new InvalidArgumentError('Write 2026-01-31, or 2026-01-31T12:00:00Z.');
}

/** `--not-before` */
export function notBeforeOption(): Option {
  return new Option(
    '--not-before <date>',
    'refuse packages that were signed before, or do not say when',
  ).argParser(pointInTime);
}

/** `--max-age`, in milliseconds. */
export function maxAgeOption(): Option {
  return new Option(
    '--max-age <time>',
    "refuse a mirror whose index was signed longer ago (12h, 7d), or isn't signed",
  ).argParser((text) => timeSpan(text) * 1000);
}

/** A number of things that run at a time. */
export function positive(text: string): number {
  if (!/^[1-9]\d{0,3}$/.test(text))
    throw new InvalidArgumentError('It has to be a whole number from 1 to 9999.');
  return Number(text);
}

/** The options that bound each build. */
export function limitOptions(command: Command): Command {
  return command
    .option('--build-jobs <n>', "processes of one package's build (default: as Spack chooses)", positive)
    .option('--timeout <time>', 'end a build that takes longer (90m, 6h)', timeSpan)
    .option('--silence <time>', 'end a build that prints nothing for this long (30m)', timeSpan);
}

/** `--tests`, for commands that build. */
export function testsOption(): Option {
  const option = new Option(
    '--tests [packages]',
    'run build-time and stand-alone tests of all packages that are built, or of roots; do not push what fails them',
  );
  return option.choices(['roots', 'all']).preset('all');
}

/** An older name of an option: understood, and not shown. */
export function olderName(command: Command, older: Option, name: string): Command {
  command.addOption(older.hideHelp());
  return command.on(`option:${older.name()}`, (value: unknown) => {
    command.setOptionValueWithSource(name, value, 'cli');
  });
}

/** `--plain`, for commands that show builds. */
export function plainOption(): Option {
  return new Option('--plain', 'lines only, also on a terminal');
}
