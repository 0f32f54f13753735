import { styleText } from 'node:util';
import type { BuildsState, PhaseReport, Progress } from '@stackwright/stack';
import { buildsView } from './builds-text.js';
import { type Context, shown } from './context.js';
import { JobOutput } from './job-output.js';
import { LiveRegion, type Terminal } from './live-region.js';

/** Milliseconds between two frames. */
const interval = 500;

/** What ended scrolls by; below it, a region shows what is going on and for how long. */
export class TerminalProgress implements Progress {
  private region: LiveRegion | undefined;

  constructor(
    private readonly context: Context,
    private readonly terminal: Terminal,
  ) {}

  /** A line for a person, above the region. */
  note(line: string): void {
    const text = `${coloured(this.context, shown(this.context, line))}\n`;
    if (this.region) this.region.write(text);
    else this.terminal.write(text);
  }

  async phase<T>(title: string, work: (report: PhaseReport) => Promise<T>): Promise<T> {
    const started = performance.now();
    const elapsed = () => (performance.now() - started) / 1000;
    let state: string | BuildsState = '';
    let end = { mark: '✓', text: '' };
    const region = new LiveRegion(this.terminal, (columns, rows) =>
      typeof state === 'string'
        ? [shown(this.context, `… ${title}${state ? `: ${state}` : ''} (${Math.floor(elapsed())} s)`)]
        : buildsView(title, state, { elapsed: elapsed(), columns, rows }).map((line) =>
            shown(this.context, line),
          ),
    );
    this.region = region;
    const output = new JobOutput(this.context, title, (text) => region.write(text));
    const note = (line: string) => {
      output.end();
      this.note(line);
    };
    // The key that stops the work is shown by the terminal itself, and main says what happens.
    const abandon = () => region.abandon();
    this.context.signal.addEventListener('abort', abandon, { once: true });
    const clock = setInterval(() => region.draw(), interval).unref();
    region.draw();
    try {
      return await work({
        update: (text) => {
          state = text;
        },
        builds: (builds) => {
          state = builds;
        },
        started() {},
        line: note,
        output: (text) => output.write(text),
        result: (text) => {
          end = { mark: '✓', text };
        },
        failed: (text) => {
          end = { mark: '✗', text };
        },
      });
    } catch (error) {
      end = { mark: '✗', text: '' };
      throw error;
    } finally {
      clearInterval(clock);
      this.context.signal.removeEventListener('abort', abandon);
      output.end();
      region.close();
      this.region = undefined;
      this.note(`${end.mark} ${title}${end.text ? `: ${end.text}` : ''} (${elapsed().toFixed(1)} s)`);
    }
  }
}

const colours = { '✓': 'green', '✗': 'red', '⊘': 'yellow', '↻': 'yellow' } as const;

/** A line whose mark, if it starts with one, has a colour. */
function coloured({ env }: Context, line: string): string {
  const mark = line.slice(0, 1);
  if (env.NO_COLOR || !(mark in colours)) return line;
  return styleText(colours[mark as keyof typeof colours], mark) + line.slice(1);
}
