/** The terminal as far as it is used here. */
export interface Terminal {
  readonly columns?: number;
  readonly rows?: number;
  write(text: string): unknown;
  on(event: 'resize', listener: () => void): unknown;
  off(event: 'resize', listener: () => void): unknown;
}

const usualWidth = 80;
const usualHeight = 24;

/**
 * Lines at the end of what a terminal shows that are drawn again and again, while others scroll above them. log-update
 * does the same, but leaves parts behind when a terminal becomes narrower and wraps what it shows.
 */
export class LiveRegion {
  private drawn: readonly string[] = [];
  /** The start of a line whose end has not come yet. */
  private unfinished = '';
  private readonly redraw = () => this.draw();

  /** @param render makes the lines for a terminal of this size */
  constructor(
    private readonly terminal: Terminal,
    private readonly render: (columns: number, rows: number) => readonly string[],
  ) {
    terminal.on('resize', this.redraw);
  }

  draw(): void {
    this.put('', this.frame());
  }

  /** Writes above the region. A line is shown when it is whole. */
  write(text: string): void {
    const all = this.unfinished + text;
    const end = all.lastIndexOf('\n') + 1;
    this.unfinished = all.slice(end);
    if (end > 0) this.put(all.slice(0, end), this.frame());
  }

  /** Something else wrote to the terminal: what was drawn stays, and the next frame is drawn below it. */
  abandon(): void {
    this.drawn = [];
  }

  /** Takes the region away. */
  close(): void {
    this.terminal.off('resize', this.redraw);
    this.put(this.unfinished ? `${this.unfinished}\n` : '', []);
    this.unfinished = '';
  }

  private get columns(): number {
    return this.terminal.columns || usualWidth;
  }

  private frame(): readonly string[] {
    const { columns } = this;
    const rows = this.terminal.rows || usualHeight;
    // The last line of the terminal is where the cursor is.
    return this.render(columns, rows)
      .slice(0, Math.max(1, rows - 1))
      .map((line) => cut(line, columns));
  }

  /** One write, so that no half frame is seen. */
  private put(above: string, lines: readonly string[]): void {
    const { columns } = this;
    // A terminal that became narrower has wrapped what it shows.
    const height = this.drawn.reduce((sum, line) => sum + Math.max(1, Math.ceil(line.length / columns)), 0);
    const erase = height > 0 ? `\u001b[${height}F\u001b[J` : '';
    const text = lines.map((line) => `${line}\n`).join('');
    this.drawn = lines;
    if (erase || above || text) this.terminal.write(erase + above + text);
  }
}

/** A text in at most so many characters. */
export function cut(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, Math.max(0, length - 1))}…`;
}
