import { describe, expect, it } from 'vitest';
import { buildsLine, buildsView } from './builds-text.js';

const build = (title: string, phase: string, elapsed: number, expected?: number) => ({
  title,
  phase,
  elapsed,
  expected,
});
const state = {
  ended: 3,
  total: 9,
  places: 4,
  running: [build('libgreet@1.2.0', 'configure', 75, 90), build('hello@2.0', 'build', 2)],
  left: 300,
};

describe('buildsView', () => {
  it.each([80, 120])('fits %i columns', (columns) => {
    const lines = buildsView('Build 9 packages', state, { elapsed: 100, columns, rows: 24 });
    expect(lines).toHaveLength(5);
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(columns);
    expect(lines[0]).toMatch(/^Build 9 packages {2}█+░+ {2}3 of 9 · 1 min 40 s · about 5 min 00 s left$/);
    expect(lines[1]).toMatch(/^ {2}libgreet@1\.2\.0 +configure +1 min 15 s of ~1 min 30 s$/);
    expect(lines[2]).toMatch(/^ {2}hello@2\.0 +build +2 s$/);
    expect(lines.slice(3)).toEqual(['', '']);
  });

  it('says how many it has no room for', () => {
    const lines = buildsView('Build', state, { elapsed: 0, columns: 80, rows: 4 });
    expect(lines.slice(1)).toEqual(['  and 2 more']);
  });
});

describe('buildsLine', () => {
  it('tells the same in a line', () => {
    expect(buildsLine(state)).toBe(
      '3 of 9, building libgreet@1.2.0 1 min 15 s, hello@2.0 2 s, about 5 min 00 s left',
    );
  });
});
