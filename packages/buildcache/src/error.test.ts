import { describe, expect, it } from 'vitest';
import { BuildcacheError } from './index.js';

describe('an error', () => {
  it.each([
    ['checksum', 'input'],
    ['wrong-package', 'input'],
    ['missing-package', 'missing'],
    ['passphrase-missing', 'missing'],
    ['relocation', 'failed'],
  ] as const)('with the code %s is of the kind %s', (code, kind) => {
    expect(new BuildcacheError(code, 'It is so.').kind).toBe(kind);
  });
  it('keeps its hint out of the message', () => {
    const error = new BuildcacheError('spec', 'It is so.', { hint: 'Do this.' });
    expect([error.message, error.hint]).toEqual(['It is so.', 'Do this.']);
  });
});
