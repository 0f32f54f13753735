import { describe, expect, it } from 'vitest';
import { TestReader } from './index.js';

function read(text: string, size = text.length) {
  const reader = new TestReader();
  for (let at = 0; at < text.length; at += size) reader.add(text.slice(at, at + size));
  return reader.end();
}

const printed = `==> Testing package libgreet-1.2.0-lxymk2z
==> [2026-11-24-08:00:01.500000] test: test_greeting: it greets
==> [2026-11-24-08:00:01.600000] '/opt/bin/greet' 'world'
hello \u001b[31mworld\u001b[0m
PASSED: Libgreet::test_greeting
==> [2026-11-24-08:00:03.750000] test: test_tune: it is in tune
FAILED: Libgreet::test_tune: out of tune
==> [2026-11-24-08:00:04.000000] test: test_x: x
SKIPPED: Libgreet::test_x: needs a screen
==> [2026-11-24-08:00:05.000000] Completed testing
`;

describe('the tests of a package', () => {
  it.each([10_000, 1, 17])('have name, status, command, time and output (pieces of %i)', (size) => {
    expect(read(printed, size)).toEqual([
      {
        name: 'test_greeting',
        status: 'passed',
        command: "'/opt/bin/greet' 'world'",
        seconds: 2.25,
        output: expect.stringMatching(/^==> .*\nhello world\nPASSED: Libgreet::test_greeting\n$/),
      },
      expect.objectContaining({
        name: 'test_tune',
        status: 'failed',
        output: expect.stringContaining('out of tune'),
      }),
      expect.objectContaining({ name: 'test_x', status: 'skipped', seconds: 1 }),
    ]);
  });

  it('of the build have no word for success, and have failed where nothing comes after them', () => {
    const start =
      "==> zlib: Executing phase: 'build'\n==> [2026-11-24-08:00:01.0] RUN-TESTS: build-time tests [check]\nmake check\n";
    expect(read(`${start}==> zlib: Executing phase: 'install'\n`)).toMatchObject([
      { name: 'build-time tests [check]', status: 'passed' },
    ]);
    expect(read(start)).toMatchObject([{ status: 'failed', output: 'make check\n' }]);
  });

  it('are none in a log without any', () => {
    expect(read('PASSED: nothing\ncc -c a.c\n')).toEqual([]);
  });
});
