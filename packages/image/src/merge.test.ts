import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { groupSmallest } from './merge.js';

describe('groupSmallest', () => {
  it('leaves everything alone where there is room', () =>
    expect(groupSmallest([5, 1, 9], 3)).toEqual([1, 1, 1]));
  it('puts the smallest neighbours together', () =>
    expect(groupSmallest([50, 1, 2, 90], 3)).toEqual([1, 2, 1]));
  it('covers every layer in order with at most that many groups', () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat(1e6), { minLength: 1, maxLength: 60 }),
        fc.integer({ min: 1, max: 20 }),
        (sizes, most) => {
          const groups = groupSmallest(sizes, most);
          expect(groups.length).toBeLessThanOrEqual(Math.max(most, 1));
          expect(groups.reduce((a, b) => a + b, 0)).toBe(sizes.length);
        },
      ),
    );
  });
});
