import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Spack } from '@stackwright/spack';
import xterm from '@xterm/headless';
import { afterAll, describe, expect, it } from 'vitest';
import { parseDocument } from 'yaml';

const quickstart = fileURLToPath(new URL('../../../stacks/quickstart', import.meta.url));
const cli = fileURLToPath(new URL('../dist/cli.js', import.meta.url));
const inTerminal = fileURLToPath(new URL('in-terminal.py', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'terminal-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const spack = await Spack.find({ env: process.env }).catch(() => undefined);
const python = spawnSync('python3', ['--version']).status === 0;
const env = { ...process.env, SPACK_SIGNING_KEY: undefined, TERM: 'xterm', NO_COLOR: '1' };

/** The quickstart with a mirror of its own, in which libgreet takes some seconds and may fail. */
function stackOf(name: string, body: string): string {
  const stack = join(folder, name);
  cpSync(quickstart, stack, { recursive: true });
  rmSync(join(stack, 'mirror'), { recursive: true });
  const file = join(stack, 'spack.yaml');
  const document = parseDocument(readFileSync(file, 'utf8'));
  document.setIn(['spack', 'config', 'install_tree', 'root'], join(folder, `opt-${name}`));
  writeFileSync(file, String(document));
  const recipe = join(stack, 'spack_repo/quickstart/packages/libgreet/package.py');
  const text = readFileSync(recipe, 'utf8');
  writeFileSync(
    recipe,
    text.replace(
      '        make(',
      `        import time\n        for _ in range(10):\n            print("tuning")\n            time.sleep(0.2)\n${body}        make(`,
    ),
  );
  return stack;
}

/** Runs a stack in a terminal. @returns every screen that was seen, and the last one with all that scrolled away */
async function watch(columns: number, args: readonly string[]) {
  const rows = 30;
  const screen = new xterm.Terminal({ cols: columns, rows, scrollback: 10_000, allowProposedApi: true });
  const lines = (from: number) => {
    const { active } = screen.buffer;
    const all = Array.from(
      { length: active.length - from },
      (_, at) => active.getLine(from + at)?.translateToString(true) ?? '',
    );
    return all.slice(0, all.findLastIndex((line) => line !== '') + 1);
  };
  const child = spawn(
    'python3',
    [inTerminal, String(columns), String(rows), process.execPath, cli, ...args],
    {
      env,
      cwd: folder,
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  const ended = once(child, 'close');
  const seen: string[][] = [];
  for await (const data of child.stdout) {
    await new Promise<void>((done) => screen.write(data, done));
    seen.push(lines(screen.buffer.active.baseY));
  }
  await ended;
  return { code: child.exitCode, seen, all: lines(0) };
}

describe.skipIf(!spack || !python || !existsSync(cli))(
  'a run on a terminal (skipped without spack and python3 on PATH, or before tsc --build)',
  () => {
    it.each([80, 120])(
      'shows what runs below what ended, in %i columns',
      { timeout: 120_000 },
      async (columns) => {
        const name = `c${columns}`;
        const stack = stackOf(name, '        raise InstallError("out of tune")\n');
        const args = ['run', stack, '--jobs', '2', '--mirror', `mirror-${name}`, '--work', `work-${name}`];
        const { code, seen, all } = await watch(columns, args);
        expect(code).toBe(1);
        const live = seen.filter((lines) =>
          lines.some((line) => /^ {2}libgreet@1\.2\.0 +install +\d/.test(line)),
        );
        expect(live.length).toBeGreaterThan(1);
        for (const lines of live) {
          const head = lines.findIndex((line) => /^Build 9 packages {2}█*░+ {2}\d of 9 · /.test(line));
          // The bar, and a row for each of two places at most.
          expect(lines.length - head).toBeLessThanOrEqual(3);
          expect(lines.filter((line) => line.startsWith('Build 9 packages'))).toHaveLength(1);
        }
        // Nothing of it is left at the end, and every line that ended is there once.
        expect(all.filter((line) => /█|░|^… /.test(line))).toEqual([]);
        expect(all.filter((line) => /^✓ gcc-runtime@\S+ built/.test(line))).toHaveLength(1);
        expect(all.filter((line) => line.startsWith('✗ Build 9 packages'))).toHaveLength(1);
        expect(all.join('\n')).toMatch(/^failed +1$/m);
      },
    );

    it('shows lines only with --plain', { timeout: 120_000 }, async () => {
      const stack = stackOf('plain', '');
      const { code, all } = await watch(120, [
        'run',
        stack,
        '--plain',
        '--mirror',
        'mirror-plain',
        '--work',
        'work-plain',
      ]);
      expect([code, all.filter((line) => /[█░]/.test(line))]).toEqual([0, []]);
      expect(all).toContainEqual(expect.stringMatching(/^ {2}▸ libgreet@1\.2\.0\/\w+ started$/));
    });
  },
);
