import { Listr, ListrLogger, ProcessOutput } from 'listr2';
import type { Context } from './context.js';

/** What a phase of long work tells while it goes on. */
export interface PhaseReport {
  /** The latest state, for example `3 of 9 built, 2 running`; replaces the one before on a terminal. */
  update(text: string): void;
  /** Something that stays to be read: a job that ended, a warning. */
  line(text: string): void;
  /** What came of the phase, for its last line. */
  result(text: string): void;
}

/** Shows the phases of a command one after the other, on stderr. */
export interface Progress {
  phase<T>(title: string, work: (report: PhaseReport) => Promise<T>): Promise<T>;
}

/** Live lines with a spinner on a terminal; elsewhere one plain line a phase and event, which suits a CI log. */
export function progressFor(context: Context, options: { quiet?: boolean } = {}): Progress {
  if (options.quiet) return { phase: (_title, work) => work({ update() {}, line() {}, result() {} }) };
  return context.stderr.isTTY ? new TerminalProgress(context) : new PlainProgress(context);
}

class PlainProgress implements Progress {
  constructor(private readonly context: Context) {}

  async phase<T>(title: string, work: (report: PhaseReport) => Promise<T>): Promise<T> {
    const started = performance.now();
    let result = '';
    const write = (text: string) => this.context.stderr.write(`${text}\n`);
    const value = await work({
      update() {},
      line: (text) => write(`  ${text}`),
      result: (text) => {
        result = text;
      },
    }).catch((error: unknown) => {
      write(`✗ ${title}`);
      throw error;
    });
    write(`✓ ${title}${result ? `: ${result}` : ''} (${seconds(started)})`);
    return value;
  }
}

class TerminalProgress implements Progress {
  constructor(private readonly context: Context) {}

  async phase<T>(title: string, work: (report: PhaseReport) => Promise<T>): Promise<T> {
    const started = performance.now();
    const out = this.context.stderr as NodeJS.WriteStream;
    const logger = new ListrLogger({ processOutput: new ProcessOutput(out, out) });
    let value: { readonly of: T } | undefined;
    await new Listr(
      [
        {
          title,
          // Every line stays, also after the end.
          rendererOptions: { outputBar: Number.POSITIVE_INFINITY, persistentOutput: true },
          task: async (_none, task) => {
            let result = '';
            const of = await work({
              update: (text) => {
                task.title = `${title}: ${text}`;
              },
              line: (text) => {
                task.output = text;
              },
              result: (text) => {
                result = text;
              },
            });
            task.title = `${title}${result ? `: ${result}` : ''} (${seconds(started)})`;
            value = { of };
          },
        },
      ],
      {
        renderer: 'default',
        // The command prints its error once, at its end.
        rendererOptions: { logger, collapseErrors: false, showErrorMessage: false, formatOutput: 'truncate' },
        registerSignalListeners: false,
      },
    ).run();
    return (value as { readonly of: T }).of;
  }
}

function seconds(started: number): string {
  return `${((performance.now() - started) / 1000).toFixed(1)} s`;
}
