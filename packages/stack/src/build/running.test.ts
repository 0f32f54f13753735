import { describe, expect, it } from 'vitest';
import { phaseReader } from './running.js';

describe('phaseReader', () => {
  it.each([
    ['==> Fetching https://example.org/a.tar.gz\n', 'fetch'],
    ["==> zlib: Executing phase: 'cmake'\n-- checking\n", 'configure'],
    ["==> zlib: Executing phase: 'configure'\n==> zlib: Executing phase: 'build'\nmake\n", 'build'],
    ["==> [2026-01-01-10:00:00.000000] zlib: Executing phase: 'install'\n", 'install'],
    ['==> Testing package zlib-1.3-abcdefg\n', 'test'],
    ['gcc -c a.c\n', undefined],
    ['==> Warning: x\n', undefined],
  ])('finds the last phase in %j', (text, phase) => {
    expect(phaseReader()(text)).toBe(phase);
  });

  it('finds it in a line that comes in pieces', () => {
    const read = phaseReader();
    expect(['==> zlib: Executing ph', "ase: 'install'\nmake"].map(read)).toEqual([undefined, 'install']);
  });
});
