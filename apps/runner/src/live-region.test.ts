import { EventEmitter } from 'node:events';
import xterm from '@xterm/headless';
import { describe, expect, it } from 'vitest';
import { LiveRegion } from './live-region.js';

/** A terminal with what a person would see of it. */
class Screen extends EventEmitter {
  private readonly emulator: xterm.Terminal;
  constructor(
    public columns: number,
    public rows: number,
  ) {
    super();
    this.emulator = new xterm.Terminal({ cols: columns, rows, convertEol: true, allowProposedApi: true });
  }
  write(text: string): void {
    this.emulator.write(text);
  }
  async resize(columns: number): Promise<void> {
    await this.lines();
    this.columns = columns;
    this.emulator.resize(columns, this.rows);
    this.emit('resize');
  }
  async lines(): Promise<string[]> {
    await new Promise<void>((done) => this.emulator.write('', done));
    const { active } = this.emulator.buffer;
    const all = Array.from(
      { length: active.length },
      (_, at) => active.getLine(at)?.translateToString(true) ?? '',
    );
    return all.slice(0, all.findLastIndex((line) => line !== '') + 1);
  }
}

describe('LiveRegion', () => {
  it('is drawn in place, below what scrolls', async () => {
    const screen = new Screen(20, 8);
    let count = 0;
    const region = new LiveRegion(screen, () => [`bar ${(count += 1)}`, '  zlib', '']);
    region.draw();
    for (let line = 1; line <= 9; line += 1) region.write(`done ${line}\n`);
    expect(await screen.lines()).toEqual([
      ...Array.from({ length: 9 }, (_, at) => `done ${at + 1}`),
      'bar 10',
      '  zlib',
    ]);
    region.close();
    expect((await screen.lines()).at(-1)).toBe('done 9');
    expect(screen.listenerCount('resize')).toBe(0);
  });

  it('shows a line when it is whole', async () => {
    const screen = new Screen(20, 8);
    const region = new LiveRegion(screen, () => ['bar']);
    region.write('one\ntw');
    expect(await screen.lines()).toEqual(['one', 'bar']);
    region.write('o\nthree');
    expect(await screen.lines()).toEqual(['one', 'two', 'bar']);
    region.close();
    expect(await screen.lines()).toEqual(['one', 'two', 'three']);
  });

  it.each([[9], [40]])(
    'is drawn anew in a terminal of %i columns, and leaves nothing behind',
    async (columns) => {
      const screen = new Screen(20, 12);
      const region = new LiveRegion(screen, (width) => ['x'.repeat(width), 'y'.repeat(30)]);
      region.write('done\n');
      await screen.resize(columns);
      expect(await screen.lines()).toEqual([
        'done',
        'x'.repeat(columns),
        columns < 30 ? `${'y'.repeat(columns - 1)}…` : 'y'.repeat(30),
      ]);
    },
  );

  it('never fills more than the terminal', async () => {
    const screen = new Screen(20, 4);
    const region = new LiveRegion(screen, () => ['1', '2', '3', '4', '5']);
    region.draw();
    region.write('done\n');
    region.draw();
    expect(await screen.lines()).toEqual(['done', '1', '2', '3']);
  });
});
