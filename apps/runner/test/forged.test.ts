import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { v3 } from '@stackwright/buildcache';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { call } from './call.js';
import {
  alpha,
  type Forgery,
  forgeries,
  MirrorFolder,
  type ReadingCommand,
  readingCommands,
} from './forged-mirrors.js';

// Whoever can write to a mirror and has no key forges a package in each of these ways. No command takes it.

const folder = mkdtempSync(join(tmpdir(), 'forged-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
// A PATH without Spack: what counts is not built here.
const env = { PATH: '/usr/bin:/bin', HOME: folder };

const argumentsOf: Record<ReadingCommand, readonly string[]> = {
  run: ['run', 'stack', '--mirror', 'mirror', '--work', 'taken/work'],
  image: [
    'image',
    'build',
    'stack',
    '--mirror',
    'mirror',
    '--work',
    'taken/work',
    '--check',
    '-o',
    'oci:taken/image',
  ],
  pull: ['mirror', 'pull', 'mirror', '--to', 'taken/tree'],
  copy: ['mirror', 'copy', 'mirror', 'taken/copy'],
  sync: ['mirror', 'sync', 'mirror', 'taken/sync'],
  publish: ['mirror', 'publish', 'mirror', 'taken/published'],
  sign: ['mirror', 'sign', 'mirror', '--key', 'notary'],
  index: ['mirror', 'index', 'mirror', '--full'],
  verify: ['mirror', 'verify', 'mirror', '--json'],
  list: ['mirror', 'list', 'mirror', '--long'],
};

async function ask(command: ReadingCommand, cwd: string, unsigned = false, specs: readonly string[] = []) {
  const trust = ['index', 'list'].includes(command)
    ? []
    : unsigned
      ? ['--unsigned']
      : ['--trust', 'trusted.pub'];
  const result = await call([...argumentsOf[command], ...specs, ...trust], { cwd, env });
  process.exitCode = undefined;
  return { ...result, text: result.stdout + result.stderr };
}

/** Findings that others lead to. */
const followUps = ['missing-dependency', 'index-stale'];

/** What a command comes to when it refuses. */
function expectedOf(command: ReadingCommand, { code, message, unsigned }: Forgery) {
  const unvouched = /^(?:signature|key)-/.test(code) && code !== 'signature-wrong';
  if (command === 'publish' && unvouched) return { exits: [0], text: /left out alpha/ };
  // Whoever pushes unsigned may build it anew in its place; here is no Spack to do that.
  if (command === 'run' && unsigned) return { exits: [3], text: /alpha\S* does not count: damaged/ };
  return { exits: [1, 2], text: message };
}

/** Files of the forged package that a command left somewhere. */
function takenFrom(cwd: string): string[] {
  const places = ['tree', 'copy/v3/manifests/spec', 'sync/v3/manifests/spec', 'published/v3/manifests/spec'];
  return places
    .map((place) => join(cwd, 'taken', place))
    .filter((place) => existsSync(place))
    .flatMap((place) => readdirSync(place, { recursive: true, encoding: 'utf8' }))
    .filter((name) => /al(ph|f)a-\d/i.test(name));
}

let whole: MirrorFolder;
beforeAll(async () => {
  whole = await MirrorFolder.make(join(folder, 'whole'));
});

it('are thirty and more', () => {
  expect(new Set(forgeries.map(({ what }) => what)).size).toBeGreaterThanOrEqual(30);
});

describe('the mirror that is forged', () => {
  it.each(readingCommands)('is taken by %s as it is', async (command) => {
    const copy = whole.copyTo(join(folder, `whole-${command}`));
    const { code, text } = await ask(command, copy.folder);
    expect({ code, text }).toMatchObject({ code: 0 });
  });
});

describe.each(forgeries.map((forgery, at) => ({ ...forgery, at })))('$what', (forgery) => {
  const { at, code, commands, forge, message, unsigned, specs } = forgery;

  it(`is found by a verification as ${code}`, async () => {
    const copy = whole.copyTo(join(folder, `${at}-verify`));
    await forge(copy);
    const { code: exit, stdout } = await ask('verify', copy.folder, unsigned);
    const errors = (
      JSON.parse(stdout).findings as { code: string; severity: string; message: string }[]
    ).filter((one) => one.severity === 'error' && (one.code === code || !followUps.includes(one.code)));
    expect([exit, [...new Set(errors.map((one) => one.code))]]).toEqual([1, [code]]);
    expect(errors[0]?.message).toMatch(message);
  });

  it.each(commands.filter((command) => command !== 'verify'))('is refused by %s', async (command) => {
    const copy = whole.copyTo(join(folder, `${at}-${command}`));
    await forge(copy);
    const before = copy.has(v3.spec(alpha)) ? copy.text(v3.spec(alpha)) : undefined;
    const { code: exit, text } = await ask(command, copy.folder, unsigned, specs?.(command));
    const expected = expectedOf(command, forgery);
    expect({ exit, text }).toEqual({ exit: expect.any(Number), text: expect.stringMatching(expected.text) });
    expect(expected.exits).toContain(exit);
    expect(takenFrom(copy.folder)).toEqual([]);
    expect(existsSync(join(copy.folder, 'taken/image'))).toBe(false);
    expect(copy.has(v3.spec(alpha)) ? copy.text(v3.spec(alpha)) : undefined).toBe(before);
  });
});
