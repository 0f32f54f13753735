import { describe, expect, it } from 'vitest';
import { nearest } from './nearest.js';

describe('nearest', () => {
  it.each([
    ['scirpt', 'script'],
    ['Script', 'script'],
    ['before-script', 'before_script'],
    ['xyz', undefined],
  ])('%s is nearest to %s', (word, known) => {
    expect(nearest(word, ['script', 'before_script', 'tags'])).toBe(known);
  });
});
