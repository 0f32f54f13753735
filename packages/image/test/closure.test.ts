import { describe, expect, it } from 'vitest';
import { runtimeClosure, searchOrder } from '../src/index.js';
import { lock } from './quickstart.js';

describe('runtimeClosure', () => {
  const names = runtimeClosure(lock).map((node) => node.name);
  it('has what is linked or run and no externals', () => {
    expect(names).not.toContain('gcc');
    expect(names).not.toContain('compiler-wrapper');
    expect(names).toHaveLength(8);
  });
  it('puts dependencies first', () =>
    expect(names.indexOf('libgreet')).toBeLessThan(names.indexOf('libchorus')));
});

describe('searchOrder', () => {
  it('starts with the roots and leaves libraries out', () => {
    const names = searchOrder(lock).map((hash) => lock.nodes.get(hash)!.name);
    expect(names.slice(0, 2).sort()).toEqual(['hello-static', 'quickstart-suite']);
    expect(names).not.toContain('libgreet');
  });
});
