import { describe, expect, it } from 'vitest';
import { duration } from './duration.js';

describe('duration', () => {
  it.each([
    [0.85, '850 ms'],
    [4.25, '4.3 s'],
    [42, '42 s'],
    [750, '12 min 30 s'],
    [11100, '3 h 05 min'],
  ])('says %s seconds as %s', (seconds, text) => expect(duration(seconds)).toBe(text));
});
