import type { PhaseReport, Progress } from '@stackwright/stack';
import { type Context, note, shown } from './context.js';
import { JobOutput } from './job-output.js';

/** Live lines with a spinner on a terminal; elsewhere one plain line a phase and event, which suits a CI log. */
export function progressFor(context: Context): Progress {
  return context.stderr.isTTY ? new TerminalProgress(context) : new PlainProgress(context);
}

/** Milliseconds after which a plain log is told that work goes on. */
const silence = 60_000;

class PlainProgress implements Progress {
  constructor(private readonly context: Context) {}

  async phase<T>(title: string, work: (report: PhaseReport) => Promise<T>): Promise<T> {
    const started = performance.now();
    let result = '';
    let mark = '✓';
    let state = '';
    let written = performance.now();
    const output = new JobOutput(this.context, title);
    const write = (text: string) => {
      output.end();
      written = performance.now();
      note(this.context, text);
    };
    // Who runs jobs ends those that are silent.
    const heartbeat = setInterval(() => {
      if (performance.now() - written >= silence)
        write(`  … ${title}${state ? `: ${state}` : ''} (${seconds(started)})`);
    }, silence / 6);
    heartbeat.unref();
    const value = await work({
      update: (text) => {
        state = text;
      },
      output: (text) => {
        written = performance.now();
        output.write(text);
      },
      started: (text) => write(`  ${text}`),
      line: (text) => write(`  ${text}`),
      result: (text) => {
        result = text;
      },
      failed: (text) => {
        mark = '✗';
        result = text;
      },
    })
      .catch((error: unknown) => {
        write(`✗ ${title}`);
        throw error;
      })
      .finally(() => clearInterval(heartbeat));
    write(`${mark} ${title}${result ? `: ${result}` : ''} (${seconds(started)})`);
    return value;
  }
}

class TerminalProgress implements Progress {
  constructor(private readonly context: Context) {}

  async phase<T>(title: string, work: (report: PhaseReport) => Promise<T>): Promise<T> {
    const started = performance.now();
    // Loaded late: only a terminal needs it.
    const { Listr, ListrLogger, ProcessOutput } = await import('listr2');
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
            let bad = false;
            const of = await work({
              update: (text) => {
                task.title = shown(this.context, `${title}: ${text}`);
              },
              started() {},
              output() {},
              line: (text) => {
                task.output = shown(this.context, text);
              },
              result: (text) => {
                result = text;
              },
              failed: (text) => {
                bad = true;
                result = text;
              },
            });
            task.title = shown(this.context, `${title}${result ? `: ${result}` : ''} (${seconds(started)})`);
            value = { of };
            // Listr marks a task by what it throws; the phase itself has come to its end.
            if (bad) throw new Error(title);
          },
        },
      ],
      {
        renderer: 'default',
        // The command prints its error once, at its end.
        rendererOptions: { logger, collapseErrors: false, showErrorMessage: false, formatOutput: 'truncate' },
        registerSignalListeners: false,
      },
    )
      .run()
      .catch((error: unknown) => {
        if (!value) throw error;
      });
    return (value as { readonly of: T }).of;
  }
}

function seconds(started: number): string {
  return `${((performance.now() - started) / 1000).toFixed(1)} s`;
}
