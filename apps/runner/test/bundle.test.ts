import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { commands } from '../src/commands/index.js';
import { call } from './call.js';

const cli = fileURLToPath(new URL('../bundle/cli.js', import.meta.url));
const mini = fileURLToPath(new URL('../../../packages/job-graph/fixtures/mini', import.meta.url));
const mirror = fileURLToPath(new URL('../../../stacks/quickstart/mirror', import.meta.url));
const run = (...args: string[]) => execFileSync(process.execPath, [cli, ...args], { encoding: 'utf8' });
const built = existsSync(cli);
const name = `the bundled command${built ? '' : ' (skipped: not built; run "npm run build")'}`;

describe.skipIf(!built)(name, () => {
  it('knows its version', () => {
    const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
    expect(run('--version')).toBe(`${version}\n`);
  });

  it.each(commands.map((command) => command.name))('has the command %s', async (command) => {
    expect(run(command, '--help')).toBe((await call([command, '--help'])).stdout);
  });

  it('carries the script of a resident Spack', () => {
    const script = 'assets/resident.py';
    expect(readFileSync(new URL(`../${script}`, import.meta.url), 'utf8')).toBe(
      readFileSync(new URL(`../../../packages/spack/${script}`, import.meta.url), 'utf8'),
    );
    const packed = execFileSync('npm', ['pack', '--dry-run', '--json'], {
      cwd: fileURLToPath(new URL('..', import.meta.url)),
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const [{ files }] = JSON.parse(packed);
    expect(files.map(({ path }: { path: string }) => path)).toContain(script);
  });

  it('ends well when nobody reads on', async () => {
    const child = spawn(process.execPath, [cli, 'mirror', 'list', mirror], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    child.stdout.destroy();
    const [code] = await once(child, 'exit');
    expect(code).toBe(0);
  });

  it('finds the style and the script of its page', async () => {
    expect(run('graph', mini, '--format', 'html')).toBe(
      (await call(['graph', mini, '--format', 'html'])).stdout,
    );
  });
});
