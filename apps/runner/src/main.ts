import { setMaxListeners } from 'node:events';
import { Command, CommanderError, Help } from 'commander';
import { commands } from './commands/index.js';
import type { Context } from './context.js';
import { visible } from './control-characters.js';
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
  const context: Context = {
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
    const program = await buildProgram(args, context);
    await program.parseAsync(args, { from: 'user' });
    return Number(process.exitCode ?? exitCode.done);
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCode.done : exitCode.input;
    if (interrupt.signal.aborted && (error as Error).name === 'AbortError') {
      context.stderr.write('Interrupted. What was finished is kept; the same command goes on from there.\n');
      return exitCode.interrupted;
    }
    const { describeError, secretsOf, withoutSecrets } = await import('@stackwright/stack');
    const { exitCodeOf } = await import('./exit.js');
    const secrets = secretsOf(context.env);
    const text =
      args.includes('--debug') && error instanceof Error ? (error.stack ?? '') : describeError(error);
    context.stderr.write(`Error: ${visible(withoutSecrets(text, secrets))}\n`);
    return interrupt.signal.aborted ? exitCode.interrupted : exitCodeOf(error);
  } finally {
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
  }
}

async function buildProgram(args: readonly string[], context: Context): Promise<Command> {
  const program = configure(new Command('stackwright'), context)
    .description('From a Spack environment to signed binaries and a published container image.')
    .version(version(), '-V, --version', 'print the version')
    .helpCommand('help [command]', 'show help for a command')
    .showSuggestionAfterError();
  const asked = args.find((arg) => !arg.startsWith('-'));
  const wanted = asked === 'help' ? args[args.indexOf('help') + 1] : asked;
  for (const entry of commands) {
    const command = configure(program.command(entry.name), context)
      .summary(entry.summary)
      .description(capitalise(entry.summary) + '.')
      .option('--debug', 'print a stack trace with an error');
    if (entry.name === wanted) (await entry.load()).define(command, context);
  }
  return program;
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
