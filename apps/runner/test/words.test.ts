import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { PassThrough } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { has } from '@stackwright/testing';
import { describe, expect, it } from 'vitest';
import { main } from '../src/index.js';
import { topics } from '../src/topics.js';
import { call } from './call.js';

const quickstart = fileURLToPath(new URL('../../../stacks/quickstart', import.meta.url));
const cli = fileURLToPath(new URL('../dist/cli.js', import.meta.url));

/** What a terminal of some width gets on stdout. */
async function onTerminal(args: readonly string[], columns: number, env: NodeJS.ProcessEnv = {}) {
  const stdout = Object.assign(new PassThrough(), { isTTY: true, columns });
  const stderr = new PassThrough();
  await main(args, { stdout, stderr, env: { PATH: process.env.PATH, ...env }, cwd: process.cwd() });
  return (stdout.read() ?? '').toString() as string;
}

describe('words that are no command', () => {
  it.each([
    [['bse', '--help']],
    [['image', 'bse', '--help']],
    [['image', '-h', 'bse']],
    [['help', 'bse']],
    [['help', 'image', 'bse']],
  ])('%j is refused, whatever help is asked for', async (args) => {
    const { code, stdout, stderr } = await call(args);
    expect(code).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toContain("unknown command 'bse'");
  });

  it.each([[['image', '--help']], [['help', 'image']], [['help', 'image', 'build']]])(
    '%j is help',
    async (args) => {
      expect(await call(args)).toMatchObject({ code: 0, stderr: '' });
    },
  );
});

describe('help topics', () => {
  it.each(topics.map(({ name }) => name))(
    '%s fits 80 columns and names commands that exist',
    async (name) => {
      const { code, stdout } = await call(['help', name]);
      expect(code).toBe(0);
      expect(stdout.split('\n').filter((line) => line.length > 80)).toEqual([]);
      for (const [, words = ''] of stdout.matchAll(
        /^ {2}stackwright ([a-z]+(?: (?:list|verify|index|create|build|push|test)\b)?)/gm,
      )) {
        expect((await call([...words.split(' '), '--help'])).code, words).toBe(0);
      }
    },
  );

  it('are all listed by --help', async () => {
    const { stdout } = await call(['--help']);
    for (const { name } of topics) expect(stdout).toContain(name);
  });
});

describe('--color', () => {
  it('colours marks on a terminal, unless NO_COLOR or --color never says no', async () => {
    expect(await onTerminal(['doctor'], 100)).toContain('\u001b[32m✓\u001b[0m Node');
    expect(await onTerminal(['doctor'], 100, { NO_COLOR: '1' })).not.toContain('\u001b');
    expect(await onTerminal(['doctor', '--color=never'], 100)).not.toContain('\u001b');
    expect(await onTerminal(['--no-color', 'doctor'], 100)).not.toContain('\u001b');
  });

  it('colours nothing elsewhere, unless asked to', async () => {
    const env = { PATH: process.env.PATH };
    expect((await call(['doctor'], { env })).stdout).not.toContain('\u001b');
    expect((await call(['doctor', '--color', 'always'], { env })).stdout).toContain('\u001b[32m✓');
    expect((await call(['check', 'nowhere', '--color', 'always'])).stderr).toContain('\u001b[1;31mError:');
    expect((await call(['doctor', '--color', 'sometimes'])).code).toBe(2);
  });
});

it('--quiet leaves results, errors and warnings', async () => {
  const { stdout, stderr, code } = await call([
    'generate',
    quickstart,
    '--json',
    '--quiet',
    '-o',
    '/dev/null',
  ]);
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toHaveProperty('jobs');
  expect(stderr.replace(/^Warning:.*\n/gm, '')).toBe('');
  expect((await call(['check', 'nowhere', '--quiet'])).stderr).toContain('Error:');
});

it('doctor breaks lines between words where the terminal ends', async () => {
  const text = await onTerminal(['doctor', quickstart, '--no-color'], 60);
  const long = text.split('\n').filter((line) => line.length > 60 && !/→|\S{28}/.test(line));
  expect(long).toEqual([]);
});

it('--debug prints the code of an error and the way it went, after the error itself', async () => {
  const { stderr } = await call(['graph', 'nowhere', '--debug']);
  expect(stderr).toMatch(/^Error: .*nowhere[\s\S]*\(not-a-stack\)[\s\S]*\n {4}at /);
  expect((await call(['graph', 'nowhere'])).stderr).not.toContain(' at ');
});

describe('completion', () => {
  const complete = async (...words: string[]) =>
    (await call(['complete', '--', ...words])).stdout.split('\n').filter(Boolean);

  it('knows commands, subcommands, options and their choices', async () => {
    expect(await complete('gen')).toEqual(['generate']);
    expect(await complete('mirror', 'pu')).toEqual(['push', 'pull', 'publish']);
    expect(await complete('generate', '--eng')).toEqual(['--engine']);
    expect(await complete('generate', '--engine', '')).toEqual(['gitlab', 'github', 'slurm', 'local']);
    expect(await complete('image', 'build', '--kind', 's')).toEqual(['software']);
  });

  it('leaves files to the shell', async () => {
    expect(await complete('check', 'st')).toEqual([]);
    expect(await complete('check', '')).toEqual([]);
  });

  it.skipIf(!existsSync(cli))('works in bash (skipped where nothing is built: tsc --build)', async () => {
    const { stdout: script } = await call(['completion', 'bash']);
    const shell = `${script}\nstackwright() { "${process.execPath}" "${cli}" "$@"; }\nCOMP_WORDS=(stackwright mirror pu); COMP_CWORD=2; _stackwright; echo "\${COMPREPLY[@]}"`;
    expect(execFileSync('bash', ['-c', shell], { encoding: 'utf8' })).toBe('push pull publish\n');
  });

  it.skipIf(!has('zsh'))(
    'is a script that zsh takes (skipped without zsh: apt-get install zsh)',
    async () => {
      const { stdout: script } = await call(['completion', 'zsh']);
      const { status, stderr } = spawnSync('zsh', ['-n'], { input: script, encoding: 'utf8' });
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    },
  );
});

it.skipIf(!existsSync(cli) || !existsSync('/dev/full'))(
  'a full disk is told in one line (skipped where nothing is built, or without /dev/full)',
  () => {
    const { status, stderr } = spawnSync(
      'sh',
      ['-c', `"${process.execPath}" "${cli}" spec zlib > /dev/full`],
      {
        encoding: 'utf8',
      },
    );
    expect(stderr).toBe('Error: The output could not be written: no space is left on the device.\n');
    expect(status).toBe(1);
  },
);
