import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { findSandbox, Spack, SpackSession } from '../src/index.js';

const folder = mkdtempSync(join(tmpdir(), 'session-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const quickstart = fileURLToPath(new URL('../../../stacks/quickstart', import.meta.url));
const real = await Spack.find({ env: process.env }).catch(() => undefined);

/** The quickstart with a tree of its own and without its mirror. @param recipe replaces the install phase of libgreet */
function stack(name: string, recipe?: string): { environment: string; hash: (name: string) => string } {
  const environment = join(folder, name);
  cpSync(quickstart, environment, { recursive: true });
  rmSync(join(environment, 'mirror'), { recursive: true });
  const file = join(environment, 'spack.yaml');
  writeFileSync(file, readFileSync(file, 'utf8').replace('/opt/quickstart', join(folder, `opt-${name}`)));
  if (recipe !== undefined) {
    const package_ = join(environment, 'spack_repo/quickstart/packages/libgreet/package.py');
    const text = readFileSync(package_, 'utf8');
    const head = text.slice(0, text.indexOf('    def install'));
    writeFileSync(package_, `import os\nimport time\n${head}    def install(self, spec, prefix):\n${recipe}`);
  }
  const lock = JSON.parse(readFileSync(join(environment, 'spack.lock'), 'utf8'));
  const nodes = Object.entries<{ name: string }>(lock.concrete_specs);
  return { environment, hash: (wanted) => nodes.find(([, node]) => node.name === wanted)?.[0] ?? '' };
}

const open = (environment: string, more: { sandbox?: 'on' | 'off' } = {}) =>
  SpackSession.open({
    why: 'test',
    env: process.env,
    environment,
    config: ['bootstrap:enable:true'],
    ...more,
  });
const logOf = (name: string) => join(folder, 'logs', `${name}.txt`);

/** Processes whose command line or environment holds a word. */
function processesWith(word: string): string[] {
  const all = execFileSync('ps', ['-e', '-o', 'pid=,args='], { encoding: 'utf8' }).split('\n');
  return all.filter((line) => line.includes(word));
}

describe('a session', () => {
  it('starts one Spack for each command where none can be resident, and says why', async () => {
    const bin = join(folder, 'fake/bin');
    mkdirSync(bin, { recursive: true });
    writeFileSync(
      join(bin, 'spack'),
      `#!/bin/sh
case "$*" in
  *--version*) echo 1.1.0;;
  *python*) echo "no such thing" >&2; exit 1;;
  *install*/good*) echo installing; exit 0;;
  *) echo noise; echo "==> Error: no compiler"; exit 1;;
esac
`,
    );
    chmodSync(join(bin, 'spack'), 0o755);
    const env = { SPACK_ROOT: join(folder, 'fake'), PATH: '/bin:/usr/bin' };
    const session = await SpackSession.open({ why: 'test', env });
    expect(session.note).toContain('no such thing');
    expect(session.version).toBe('1.1.0');
    await session.install('good', { log: logOf('good') });
    expect(readFileSync(logOf('good'), 'utf8')).toBe('installing\n');
    const failing = session.install('bad', { log: logOf('bad') });
    await expect(failing).rejects.toMatchObject({ code: 'command-failed', details: { exitCode: 1 } });
    await expect(failing).rejects.toThrow(/spack install failed:\n==> Error: no compiler/);
    await session.close();
  });

  it('ends with what it prints when Spack itself does not run', async () => {
    const bin = join(folder, 'broken/bin');
    mkdirSync(bin, { recursive: true });
    writeFileSync(join(bin, 'spack'), '#!/bin/sh\necho "no python" >&2; exit 127\n', { mode: 0o755 });
    const env = { SPACK_ROOT: join(folder, 'broken'), PATH: '/bin:/usr/bin' };
    await expect(SpackSession.open({ why: 'test', env })).rejects.toMatchObject({ code: 'broken-spack' });
  });

  it('is found in the package that npm packs', () => {
    const packed = execFileSync('npm', ['pack', '--dry-run', '--json'], {
      cwd: fileURLToPath(new URL('..', import.meta.url)),
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const [{ files }] = JSON.parse(packed);
    expect(files.map(({ path }: { path: string }) => path)).toContain('assets/resident.py');
  });
});

describe.skipIf(!real)('a session with real Spack (skipped without spack on PATH)', () => {
  it('stays resident, and installs two packages at once, each into its own log', {
    timeout: 120_000,
  }, async () => {
    const { environment, hash } = stack('resident');
    const session = await open(environment);
    expect([session.note, session.version]).toEqual([undefined, real?.version]);
    const names = ['compiler-wrapper', 'gcc-runtime'];
    const used = await Promise.all(names.map((name) => session.install(hash(name), { log: logOf(name) })));
    for (const { cpu, memory } of used) {
      expect(cpu).toBeGreaterThan(0);
      expect(memory).toBeGreaterThan(0);
    }
    for (const name of names)
      expect(readFileSync(logOf(name), 'utf8')).toContain(`${name}: Successfully installed`);
    await session.install(hash('libgreet'), { log: logOf('libgreet') });
    await session.close();
  });

  it('goes on after a build that failed and one that killed its Spack', { timeout: 120_000 }, async () => {
    const failing = stack('failing', '        raise ValueError("no luck today")\n');
    const session = await open(failing.environment);
    const failed = session.install(failing.hash('libgreet'), { log: logOf('failing') });
    await expect(failed).rejects.toThrow(/no luck today/);
    await session.install(failing.hash('gcc-runtime'), { log: logOf('after') });
    await session.close();

    const killing = stack('killing', '        os.kill(os.getppid(), 9)\n        time.sleep(60)\n');
    const other = await open(killing.environment);
    const killed = other.install(killing.hash('libgreet'), { log: logOf('killing') });
    await expect(killed).rejects.toMatchObject({ code: 'command-failed', details: { signal: 9 } });
    await other.install(killing.hash('gcc-runtime'), { log: logOf('after') });
    await other.close();
  });

  it.each([
    [
      'timeout',
      'timed-out',
      '        while True:\n            print("still at it", flush=True)\n            time.sleep(0.2)\n',
    ],
    ['silence', 'silent', '        os.system("sleep 4321")\n'],
  ])(
    'ends what exceeds its %s, with its processes in the log',
    { timeout: 120_000 },
    async (limit, code, recipe) => {
      const { environment, hash } = stack(code, recipe);
      const session = await open(environment);
      const running = session.install(hash('libgreet'), { log: logOf(code), [limit]: 5 });
      await expect(running).rejects.toMatchObject({ code, details: { log: logOf(code) } });
      const log = readFileSync(logOf(code), 'utf8');
      expect(log).toMatch(/stackwright: It (took longer than|printed nothing for) 5 seconds and was ended/);
      expect(log).toContain('resident.py');
      if (code === 'silent') expect(log).toMatch(/^ {2,}\d+ \w sleep 4321$/m);
      await session.close();
    },
  );

  it('interrupts what is aborted, and leaves no process', { timeout: 120_000 }, async () => {
    const { environment, hash } = stack('aborted', '        os.system("sleep 4322")\n');
    const session = await open(environment);
    const stop = new AbortController();
    const running = session.install(hash('libgreet'), { log: logOf('aborted'), signal: stop.signal });
    while (processesWith('sleep 4322').length === 0) await wait(50);
    stop.abort();
    await expect(running).rejects.toMatchObject({ name: 'AbortError' });
    await session.close();
    expect(processesWith('sleep 4322')).toEqual([]);
  });

  it.each(['on', 'off'] as const)(
    'ends with the process that opened it, however that ends (sandbox %s)',
    { timeout: 120_000 },
    async (sandbox, { skip } = { skip: () => {} } as never) => {
      if (sandbox === 'on' && !(await findSandbox(process.env))) skip();
      const { environment, hash } = stack(
        `orphan-${sandbox}`,
        '        os.system("setsid sleep 4323 & sleep 4323")\n',
      );
      const script = join(folder, 'open.mjs');
      writeFileSync(
        script,
        `import { SpackSession } from ${JSON.stringify(new URL('../dist/index.js', import.meta.url).href)};
const [environment, hash, log, sandbox] = process.argv.slice(2);
const session = await SpackSession.open({ why: 'test', env: process.env, environment, sandbox });
await session.install(hash, { log });
`,
      );
      const child = spawn(
        process.execPath,
        [script, environment, hash('libgreet'), logOf(`orphan-${sandbox}`), sandbox],
        { stdio: 'ignore' },
      );
      while (processesWith('sleep 4323').length < 2) await wait(50);
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
      // The end of its input has to reach it.
      for (let tries = 0; tries < 100 && processesWith(environment).length > 0; tries += 1) await wait(50);
      expect([...processesWith('sleep 4323'), ...processesWith(environment)]).toEqual([]);
    },
  );
});
