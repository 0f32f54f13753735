import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { commands } from '../src/commands/index.js';
import { call } from './call.js';

describe('stackwright', () => {
  it('prints its version', async () => {
    const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
    expect(await call(['--version'])).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' });
  });

  it('refuses an unknown command and offers the nearest', async () => {
    const { code, stderr, stdout } = await call(['grap']);
    expect(code).toBe(2);
    expect(stderr).toMatch(/^Error: unknown command 'grap'\n\(Did you mean graph\?\)/);
    expect(stdout).toBe('');
  });

  it('refuses a folder that is no stack', async () => {
    const { code, stderr } = await call(['run', 'no-such-folder']);
    expect(code).toBe(2);
    expect(stderr).toMatch(/no-such-folder/);
  });

  it('lists every command in its help', async () => {
    const { code, stdout } = await call(['--help']);
    expect(code).toBe(0);
    for (const { name, summary } of commands)
      expect(stdout).toMatch(new RegExp(`${name} .*${summary.slice(0, 20)}`));
  });

  it.each(commands.map(({ name }) => name))('%s --help fits 80 columns', async (name) => {
    const { code, stdout } = await call([name, '--help']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^Usage: stackwright /);
    expect(stdout.split('\n').filter((line) => line.length > 80)).toEqual([]);
  });
});

describe('docs/commands.md', () => {
  it('is what the help texts say (else run: node scripts/reference.mjs)', () => {
    const root = fileURLToPath(new URL('../../..', import.meta.url));
    expect(() =>
      execFileSync(process.execPath, ['scripts/reference.mjs', '--check'], { cwd: root, stdio: 'pipe' }),
    ).not.toThrow();
  });
});
