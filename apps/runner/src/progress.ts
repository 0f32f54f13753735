import type { PhaseReport, Progress } from '@stackwright/stack';
import { buildsLine } from './builds-text.js';
import { type Context, note } from './context.js';
import { JobOutput } from './job-output.js';
import { TerminalProgress } from './terminal-progress.js';

/** A progress that also takes lines which belong to no phase. */
export interface Display extends Progress {
  note(line: string): void;
}

/**
 * On a terminal a region that shows what is going on; elsewhere, and with `plain`, one line a phase and event, which
 * suits a CI log.
 */
export function displayFor(context: Context, { plain = false }: { readonly plain?: boolean } = {}): Display {
  const { stderr, env } = context;
  return stderr.isTTY && !plain && env.TERM !== 'dumb'
    ? new TerminalProgress(context, stderr as NodeJS.WriteStream)
    : new PlainProgress(context);
}

/** Milliseconds after which a plain log is told that work goes on. */
const silence = 60_000;

class PlainProgress implements Display {
  constructor(private readonly context: Context) {}

  note(line: string): void {
    note(this.context, line);
  }

  async phase<T>(title: string, work: (report: PhaseReport) => Promise<T>): Promise<T> {
    const started = performance.now();
    let result = '';
    let mark = '✓';
    let state = '';
    let written = performance.now();
    const output = new JobOutput(this.context, title, (text) => this.context.stderr.write(text));
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
      builds: (builds) => {
        state = buildsLine(builds);
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

function seconds(started: number): string {
  return `${((performance.now() - started) / 1000).toFixed(1)} s`;
}
