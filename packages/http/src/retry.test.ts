import { describe, expect, it } from 'vitest';
import { HttpError } from './error.js';
import { backOff, defaultRetry, isTransientCause, retryAfterOf, retrying } from './retry.js';

describe('the pause before another attempt', () => {
  it('doubles up to its longest, and half of it is random', () => {
    const between = (random: number) =>
      [1, 2, 3, 10].map((attempt) => backOff(defaultRetry, attempt, () => random));
    expect(between(0)).toEqual([100, 200, 400, 5000]);
    expect(between(1)).toEqual([200, 400, 800, 10_000]);
  });

  it.each([
    [undefined, undefined],
    ['7', 7],
    ['Thu, 01 Jan 1970 00:01:00 GMT', 50],
    ['Thu, 01 Jan 1970 00:00:00 GMT', 0],
    ['soon', undefined],
    ['-5', undefined],
  ])('that Retry-After %j asks for is %j seconds', (header, seconds) => {
    expect(retryAfterOf(header, 10_000)).toBe(seconds);
  });

  it('is a minute and the back-off at most, however long the server asks for', async () => {
    const stop = new AbortController();
    const delays: number[] = [];
    const work = async () => {
      throw new HttpError('status', 'busy', { transient: true, retryAfter: 86_400 });
    };
    const onRetry = (_: number, delay: number) => {
      delays.push(delay);
      stop.abort();
    };
    await expect(retrying(defaultRetry, work, { signal: stop.signal, onRetry })).rejects.toThrow(/abort/i);
    expect(delays[0]).toBeGreaterThanOrEqual(60_000);
    expect(delays[0]).toBeLessThanOrEqual(60_200);
  });
});

describe('retrying', () => {
  const quick = { attempts: 5, first: 0, longest: 0 };

  it('does not try again what was retried further down', async () => {
    let tried = 0;
    const work = async () => {
      tried++;
      throw new HttpError('status', 'busy', { transient: true, attempts: 4 });
    };
    await expect(retrying(quick, work)).rejects.toThrow('busy');
    expect(tried).toBe(1);
  });

  it('tries what takes long or has little hope three times', async () => {
    let tried = 0;
    const work = async () => {
      tried++;
      throw new HttpError('timeout', 'slow', { transient: true, costly: true });
    };
    await expect(retrying(quick, work)).rejects.toThrow('slow');
    expect(tried).toBe(3);
  });
});

describe('a connection’s error', () => {
  it.each([
    ['ECONNRESET', true],
    ['HPE_INVALID_CONSTANT', true],
    ['ENOTFOUND', false],
    ['DEPTH_ZERO_SELF_SIGNED_CERT', false],
  ])('%s passes: %s', (code, passes) => {
    const inner = Object.assign(new Error('inner'), { code });
    expect(isTransientCause(new TypeError('fetch failed', { cause: new AggregateError([inner]) }))).toBe(
      passes,
    );
  });
});
