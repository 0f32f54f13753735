import { setMaxListeners } from 'node:events';
import { Command, CommanderError, Help, Option } from 'commander';
import { commands } from './commands/index.js';
import type { Context } from './context.js';
import { exitCode } from './exit-code.js';
import { version } from './version.js';

/**
 * Runs `stackwright ARGS` and returns its exit code.
 * @param args without the interpreter and the script
 */
export async function main(args: readonly string[], overrides: Partial<Context> = {}): Promise<number> {
  const interrupt = new AbortController();
  // Every transfer in flight listens to it. Not 0 for "any number": undici takes that for a signal that is none.
  setMaxListeners(100_000, interrupt.signal);
  const { rest, quiet, color } = takeGlobal(args);
  const context: Context = {
    quiet,
    color,
    stdout: process.stdout,
    stderr: process.stderr,
    stdin: process.stdin,
    env: process.env,
    cwd: process.cwd(),
    signal: interrupt.signal,
    ...overrides,
  };
  const onSignal = () => {
    if (interrupt.signal.aborted) process.exit(exitCode.interrupted);
    context.stderr.write('\nStopping; again to stop at once.\n');
    interrupt.abort();
  };
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
  try {
    const program = await buildProgram(rest, context);
    if (await answered(program, rest, context)) return exitCode.done;
    await program.parseAsync(hasUnknown(program, rest) ? withoutHelp(rest) : rest, { from: 'user' });
    return Number(process.exitCode ?? exitCode.done);
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCode.done : exitCode.input;
    if (interrupt.signal.aborted && (error as Error).name === 'AbortError') {
      context.stderr.write('Interrupted. What was finished is kept; the same command goes on from there.\n');
      return exitCode.interrupted;
    }
    const { describeError } = await import('@stackwright/stack');
    const { exitCodeOf } = await import('./exit.js');
    const { note } = await import('./context.js');
    note(context, `Error: ${describeError(error)}`);
    if (args.includes('--debug')) note(context, wayOf(error));
    return interrupt.signal.aborted ? exitCode.interrupted : exitCodeOf(error);
  } finally {
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
  }
}

const whenColored: Readonly<Record<string, boolean | undefined>> = {
  always: true,
  never: false,
  auto: undefined,
};

/** Options that every command takes, wherever they stand. */
function takeGlobal(args: readonly string[]): Pick<Context, 'quiet' | 'color'> & { rest: readonly string[] } {
  const rest: string[] = [];
  let quiet = false;
  let color: boolean | undefined;
  const end = args.includes('--') ? args.indexOf('--') : args.length;
  for (let at = 0; at < args.length; at++) {
    const arg = args[at] as string;
    const [name, value = name === '--color' ? args[at + 1] : undefined] = arg.split('=', 2);
    if (at >= end) rest.push(arg);
    else if (arg === '--quiet') quiet = true;
    else if (arg === '--no-color') color = false;
    else if (name === '--color' && value !== undefined && Object.hasOwn(whenColored, value)) {
      color = whenColored[value];
      if (arg === name) at++;
    } else rest.push(arg);
  }
  return { rest, quiet, color };
}

/** Answers what is no command: help on a topic, and what shells ask to complete a line. */
async function answered(program: Command, args: readonly string[], context: Context): Promise<boolean> {
  const [first, second, ...words] = args;
  if (first === 'help' && second !== undefined) {
    const { topics } = await import('./topics.js');
    const topic = topics.find(({ name }) => name === second);
    if (topic) context.stdout.write(`${topic.text}\n`);
    return topic !== undefined;
  }
  if (first !== 'complete' || second !== '--') return false;
  const { completions } = await import('./completion.js');
  const found = completions(program, words);
  if (found.length > 0) context.stdout.write(`${found.join('\n')}\n`);
  return true;
}

/** Whether a word stands where a command belongs and is none: help is then no answer. */
function hasUnknown(program: Command, args: readonly string[]): boolean {
  let command = program;
  const words = args[0] === 'help' ? args.slice(1) : args;
  for (const word of words.filter((arg) => !arg.startsWith('-'))) {
    if (command.commands.length === 0) return false;
    const below = command.commands.find((one) => one.name() === word);
    if (!below) return word !== 'help';
    command = below;
  }
  return false;
}

/** The same words without the request for help, so that the unknown one is told. */
function withoutHelp(args: readonly string[]): readonly string[] {
  return args.filter((arg, index) => !(index === 0 && arg === 'help') && arg !== '--help' && arg !== '-h');
}

async function buildProgram(args: readonly string[], context: Context): Promise<Command> {
  const program = configure(new Command('stackwright'), context)
    .description('From a Spack environment to signed binaries and a published container image.')
    .version(version(), '-V, --version', 'print the version')
    .helpCommand('help [command]', 'show help for a command or a topic')
    .option('--quiet', 'print errors and warnings only, besides the result')
    .addOption(
      new Option('--color <when>', 'colour the output: auto is on a terminal without NO_COLOR').choices(
        Object.keys(whenColored),
      ),
    )
    .addHelpText(
      'after',
      '\nTopics (stackwright help TOPIC): stacks, mirrors, trust, ci, images, variables,\nexit-codes. Shell completion: stackwright completion bash|zsh|fish.',
    )
    .showSuggestionAfterError();
  const [asked, next] = args.filter((arg) => !arg.startsWith('-'));
  const wanted = asked === 'help' || asked === 'complete' ? next : asked;
  for (const entry of commands) {
    const command = configure(program.command(entry.name), context)
      .summary(entry.summary)
      .description(capitalise(entry.summary) + '.')
      .option('--debug', 'print a stack trace with an error');
    if (entry.name === wanted) (await entry.load()).define(command, context);
  }
  return program;
}

/** For `--debug`: the code of an error and of what caused it, each with the way it went. */
function wayOf(error: unknown): string {
  const parts: string[] = [];
  for (let at = error; at instanceof Error; at = at.cause) {
    const { code } = at as { code?: unknown };
    parts.push(
      `${parts.length > 0 ? 'Caused by ' : ''}${at.name}${code ? ` (${code})` : ''}: ${at.stack ?? at.message}`,
    );
  }
  return parts.join('\n');
}

/** Applies what every command and subcommand shares: where text goes, how wide it is, that errors are thrown. */
export function configure(command: Command, context: Context): Command {
  const columns = context.stderr.columns ?? 80;
  return command
    .exitOverride()
    .configureHelp({
      // That a list is empty unless something is added to it says nothing.
      optionDescription: (option) =>
        Array.isArray(option.defaultValue) && option.defaultValue.length === 0
          ? option.description
          : new Help().optionDescription(option),
      subcommandTerm: (subcommand) => subcommand.name(),
    })
    .configureOutput({
      writeOut: (text) => context.stdout.write(text),
      writeErr: (text) => context.stderr.write(text),
      outputError: (text, write) => write(text.replace(/^error:/, 'Error:')),
      getOutHelpWidth: () => Math.min(columns, 100),
      getErrHelpWidth: () => Math.min(columns, 100),
    })
    .showHelpAfterError('(use --help for the options)');
}

function capitalise(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
