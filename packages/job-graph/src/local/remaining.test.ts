import { describe, expect, it } from 'vitest';
import { graph } from '../graph/graphs.test.support.js';
import { remainingTime } from './remaining.js';

const durations = new Map([
  ['a', 10],
  ['b', 20],
  ['c', 5],
]);
const none = new Map<string, number>();

describe('remainingTime', () => {
  it.each([
    ['the longest chain', graph({ b: ['a'], c: [] }), none, none, 2, 30],
    ['all work where there are few places', graph({ a: [], b: [], c: [] }), none, none, 1, 35],
    ['less what runs', graph({ a: [], b: [], c: [] }), none, new Map([['b', 8]]), 3, 12],
    ['nothing of what runs longer than expected', graph({ a: [] }), none, new Map([['a', 99]]), 1, 0],
    ['what is left at the pace so far', graph({ b: ['a'] }), new Map([['a', 20]]), none, 1, 40],
    [
      'nothing of what is not run',
      graph({ b: ['a'] }),
      new Map([
        ['a', 10],
        ['b', 0],
      ]),
      none,
      1,
      0,
    ],
  ])('counts %s', (_name, g, ended, running, concurrency, seconds) => {
    expect(remainingTime(g, { durations, ended, running, concurrency })).toBe(seconds);
  });
});
