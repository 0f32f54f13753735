import type { PhaseReport, Progress } from '@stackwright/stack';
import { Listr, ListrLogger, ProcessOutput } from 'listr2';
import type { Context } from './context.js';
import { visible } from './control-characters.js';

/** Live lines with a spinner on a terminal; elsewhere one plain line a phase and event, which suits a CI log. */
export function progressFor(context: Context): Progress {
  return context.stderr.isTTY ? new TerminalProgress(context) : new PlainProgress(context);
}

class PlainProgress implements Progress {
  constructor(private readonly context: Context) {}

  async phase<T>(title: string, work: (report: PhaseReport) => Promise<T>): Promise<T> {
    const started = performance.now();
    let result = '';
    const write = (text: string) => this.context.stderr.write(`${visible(text)}\n`);
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
