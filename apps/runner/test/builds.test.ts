import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { createKey, formatSigningKey, openV3Mirror, presentPackages } from '@stackwright/buildcache';
import { findSandbox, Spack } from '@stackwright/spack';
import { afterAll, describe, expect, it } from 'vitest';
import { type Document, parseDocument } from 'yaml';
import { call } from './call.js';

const quickstart = fileURLToPath(new URL('../../../stacks/quickstart', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'builds-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const spack = await Spack.find({ env: process.env }).catch(() => undefined);
const env = { ...process.env, SPACK_SIGNING_KEY: undefined };

interface Changes {
  /** Changes the recipe of libgreet. */
  readonly recipe?: (text: string) => string;
  readonly manifest?: (document: Document) => void;
  readonly settings?: string;
}

/** The quickstart with an install tree, a mirror and sources of its own. */
function stackOf(name: string, { recipe, manifest, settings }: Changes): string {
  const stack = join(folder, name);
  cpSync(quickstart, stack, { recursive: true });
  rmSync(join(stack, 'mirror'), { recursive: true });
  const file = join(stack, 'spack.yaml');
  const document = parseDocument(readFileSync(file, 'utf8'));
  document.setIn(['spack', 'config', 'install_tree', 'root'], join(folder, `opt-${name}`));
  document.setIn(['spack', 'config', 'source_cache'], join(folder, `cache-${name}`));
  document.setIn(['spack', 'mirrors', 'buildcache-destination', 'url'], join(folder, `mirror-${name}`));
  manifest?.(document);
  writeFileSync(file, String(document));
  if (settings) writeFileSync(join(stack, 'stackwright.yaml'), settings);
  const libgreet = join(stack, 'spack_repo/quickstart/packages/libgreet/package.py');
  if (recipe) writeFileSync(libgreet, recipe(readFileSync(libgreet, 'utf8')));
  return stack;
}

/** Runs a stack as a whole. @returns with what became of each package, and what is in the mirror */
async function run(name: string, changes: Changes, ...more: string[]) {
  const work = join(folder, `work-${name}`);
  const stack = stackOf(name, changes);
  const args = ['run', stack, '--mirror', join(folder, `mirror-${name}`), '--work', work, '--jobs', '2'];
  const done = await call([...args, ...more], { env, cwd: folder });
  const result = JSON.parse(readFileSync(join(work, 'run.json'), 'utf8'));
  const states = Object.fromEntries(
    result.jobs.map((job: { name: string; state: string }) => [job.name, job.state]),
  );
  const logs = join(work, 'logs');
  const log = readdirSync(logs).find((file) => file.startsWith('libgreet-'));
  const packages = await presentPackages(await openV3Mirror(join(folder, `mirror-${name}`)));
  return {
    ...done,
    states,
    result,
    log: log ? readFileSync(join(logs, log), 'utf8') : '',
    pushed: [...packages.values()].map((one) => one.name),
  };
}

const install = (body: string) => (text: string) =>
  `import time\n${text.slice(0, text.indexOf('    def install'))}    def install(self, spec, prefix):\n${body}`;

const cli = fileURLToPath(new URL('../dist/cli.js', import.meta.url));
const built = existsSync(cli);

/** Processes whose command line holds a word. */
function processesWith(word: string): string[] {
  const all = execFileSync('ps', ['-e', '-o', 'pid=,args='], { encoding: 'utf8' }).split('\n');
  return all.filter((line) => line.includes(word));
}

describe.skipIf(!spack || !built)(
  'a run that is killed (skipped without spack on PATH, or before tsc --build)',
  () => {
    it('is finished by --resume: nothing that was pushed is built again, no process is left', {
      timeout: 300_000,
    }, async () => {
      // Each package takes its time, so that kills hit all of them.
      const stack = stackOf('killed', {
        recipe: (text) =>
          text.replace('        make(', '        import time; time.sleep(0.5)\n        make('),
      });
      const mirror = join(folder, 'mirror-killed');
      const work = join(folder, 'work-killed');
      const args = ['run', stack, '--mirror', mirror, '--work', work, '--jobs', '2', '--rebuild', '--resume'];
      for (let round = 0; round < 6; round += 1) {
        const child = spawn(process.execPath, [cli, ...args], { env, detached: true, stdio: 'ignore' });
        const ended = once(child, 'exit');
        const kill = setTimeout(() => process.kill(-(child.pid ?? 0), 'SIGKILL'), 400 + Math.random() * 1800);
        await ended;
        clearTimeout(kill);
        // What it had started ends when its input does.
        for (let tries = 0; tries < 200 && processesWith(stack).length > 0; tries += 1) await wait(25);
        expect(processesWith(stack)).toEqual([]);
      }
      const { code, stderr } = await call(args, { env, cwd: folder });
      expect([code, code === 0 ? '' : stderr]).toEqual([0, '']);
      const entries: { event: string; name: string }[] = readFileSync(join(work, 'journal.jsonl'), 'utf8')
        .split('\n')
        .flatMap((line) => {
          try {
            return [JSON.parse(line)];
          } catch {
            return [];
          }
        });
      const done = new Set<string>();
      for (const { event, name } of entries) {
        if (event === 'started') expect(done).not.toContain(name);
        if (event === 'built') done.add(name);
      }
      expect(done.size).toBe(9);
      const events = entries.filter(({ name }) => name === 'quickstart-suite').map(({ event }) => event);
      expect(events.slice(-3)).toEqual(['built', 'signed', 'pushed']);
      const trust = ['--trust', join(work, 'keys/signing-key.pub')];
      expect((await call(['mirror', 'verify', mirror, ...trust], { env })).code).toBe(0);
      expect((await presentPackages(await openV3Mirror(mirror))).size).toBe(9);
      expect((await (await openV3Mirror(mirror)).index()).hashes.size).toBe(9);
    });
  },
);

describe.skipIf(!spack)('a work folder (skipped without spack on PATH)', () => {
  it('serves one run at a time: another is told whose it is', { timeout: 120_000 }, async () => {
    const stack = stackOf('twice', {});
    const one = () =>
      call(['run', stack, '--mirror', join(folder, 'mirror-twice'), '--work', join(folder, 'work-twice')], {
        env,
        cwd: folder,
      });
    const both = await Promise.all([one(), one()]);
    expect(both.map(({ code }) => code).sort()).toEqual([0, 1]);
    expect(both.find(({ code }) => code === 1)?.stderr).toContain(
      `is in use by another run: process ${process.pid} on ${hostname()}.`,
    );
    expect((await one()).code).toBe(0);
  });
});

describe.skipIf(!spack)('builds that are left alone, with real Spack (skipped without spack on PATH)', () => {
  it('start again after a fetch that got one 503', { timeout: 120_000 }, async () => {
    let asked = 0;
    const source = readFileSync(join(quickstart, 'sources/libgreet-1.2.0.tar.gz'));
    const server = createServer((request, response) => {
      if (request.method === 'GET') asked += 1;
      if (asked <= 1) response.writeHead(503).end('busy');
      else response.writeHead(200, { 'content-length': source.length }).end(source);
    });
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    const { port } = server.address() as { port: number };
    const { code, stderr, states } = await run('busy', {
      recipe: (text) => text.replace(/url = f".*"/, `url = "http://127.0.0.1:${port}/libgreet-1.2.0.tar.gz"`),
    });
    server.close();
    expect([code, stderr]).toEqual([0, expect.stringMatching(/↻ libgreet@1\.2\.0\S* .*\(fetch\)/)]);
    expect(states.libgreet).toBe('done');
  });

  it.each([
    [
      'hangs',
      ['--timeout', '4s'],
      '        while True:\n            print("working", flush=True)\n            time.sleep(0.2)\n',
      /It took longer than 4 seconds/,
    ],
    ['waits', ['--silence', '4s'], '        time.sleep(600)\n', /It printed nothing for 4 seconds/],
  ])('are ended when one %s', { timeout: 120_000 }, async (name, options, body, message) => {
    const { code, stderr, states, log } = await run(name, { recipe: install(body) }, ...options);
    expect([code, stderr]).toEqual([1, expect.stringMatching(message)]);
    expect(states).toMatchObject({ libgreet: 'failed', hello: 'blocked', 'gcc-runtime': 'done' });
    expect(log).toMatch(message);
    expect(log).toContain('resident.py');
  });

  it('fail as a stack says in stackwright.yaml', { timeout: 120_000 }, async () => {
    const { code, stderr, log } = await run('licence', {
      recipe: install('        raise InstallError("FLEXlm: no licence left")\n'),
      settings: 'failures:\n  licence: { match: "FLEXlm: no licence", retries: 1 }\n',
    });
    expect([code, stderr]).toEqual([1, expect.stringMatching(/↻ libgreet\S* .*\(licence\)/)]);
    expect(log).toMatch(/stackwright: attempt 2 after a failure of the kind "licence"/);
  });

  it('start no more after the first failure with --fail-fast', { timeout: 120_000 }, async () => {
    const changes = { recipe: install('        raise InstallError("no")\n') };
    const { code, states } = await run('fast', changes, '--fail-fast');
    expect(code).toBe(1);
    expect(states.libgreet).toBe('failed');
    expect(states.libchorus).not.toBe('done');
  });

  it('do not push what fails its stand-alone test, also when it is installed', {
    timeout: 120_000,
  }, async () => {
    const recipe = (text: string) =>
      `${text}\n    def test_greeting(self):\n        assert False, "out of tune"\n`;
    const first = await run('tested', { recipe }, '--tests');
    expect([first.code, first.stderr]).toEqual([1, expect.stringMatching(/✗ libgreet/)]);
    expect(first.states).toMatchObject({ libgreet: 'failed', hello: 'blocked' });
    expect(first.log).toContain('out of tune');
    expect(first.pushed).not.toContain('libgreet');

    const again = await run('tested', { recipe }, '--tests', '--resume');
    expect([again.code, again.states.libgreet]).toEqual([1, 'failed']);
    expect(again.pushed).not.toContain('libgreet');

    // Only roots are tested, and libgreet is none.
    const roots = await run('tested', { recipe }, '--tests', 'roots', '--resume');
    expect([roots.code, roots.states.libgreet]).toEqual([0, 'done']);
  });

  it('leave out tests that are known to be broken', { timeout: 120_000 }, async () => {
    const { code, states } = await run(
      'known',
      {
        recipe: (text) => `${text}\n    def test_greeting(self):\n        assert False, "out of tune"\n`,
        manifest: (document) => document.setIn(['spack', 'ci', 'broken-tests-packages'], ['libgreet']),
      },
      '--tests',
    );
    expect([code, states.libgreet]).toEqual([0, 'done']);
  });

  it('say what failed with the first error of a long log, and what is around it', {
    timeout: 120_000,
  }, async () => {
    const { stderr, log, result } = await run('compile', {
      recipe: install(`        for number in range(5000):
            print("gcc -c part", number)
        print("main.c:7:3: error: unknown type name 'wrong'")
        for number in range(5000):
            print("gcc -c more", number)
        raise InstallError("make failed")
`),
    });
    expect(stderr).toMatch(/^ {2}▸ libgreet@1\.2\.0\S* started$/m);
    const line = log.split('\n').findIndex((text) => text.startsWith('main.c:7:3')) + 1;
    expect(stderr).toMatch(
      /^ {2}✗ libgreet@1\.2\.0\S* failed \(compiler\): main\.c:7:3: error: unknown type name 'wrong'$/m,
    );
    const end = stderr.slice(stderr.indexOf('\n✗ libgreet@'));
    expect(end).toContain(
      [
        "(compiler): main.c:7:3: error: unknown type name 'wrong'",
        `    line ${line}:`,
        '      gcc -c part 4997',
        '      gcc -c part 4998',
        '      gcc -c part 4999',
        "    > main.c:7:3: error: unknown type name 'wrong'",
        '      gcc -c more 0',
        '      gcc -c more 1',
        '      gcc -c more 2',
        '    log:    ',
      ].join('\n'),
    );
    const failed = result.jobs.find((job: { name: string }) => job.name === 'libgreet');
    const repeat = `stackwright reproduce work-compile/reproduction/libgreet-${failed.hash} --run`;
    expect(end).toContain(`    repeat: ${repeat}\n`);
    expect(failed.failure).toMatchObject({ kind: 'compiler', attempts: 1, line });
    expect(end).toMatch(/^built +\d+\nreused +0\nfailed +1\nblocked +\d+\ntime +\d/m);
    // The command that it names repeats the failure.
    const again = await call(repeat.split(' ').slice(1), { env, cwd: folder });
    expect([again.code, again.stderr]).toEqual([1, expect.stringContaining("unknown type name 'wrong'")]);
  });

  it('show no secret of the caller: not in a log, an artifact or on the screen', {
    timeout: 120_000,
  }, async ({ skip }) => {
    if (!(await findSandbox(process.env))) skip('no PID namespace can be made; apt-get install bubblewrap');
    const key = formatSigningKey(await createKey({ name: 'Hidden' }));
    const token = 'hunter2-hunter2';
    const stack = stackOf('nosy', {
      recipe: (text) =>
        `import glob\nimport os\n${text.slice(0, text.indexOf('    def install'))}    def install(self, spec, prefix):
        print("VARIABLES", dict(os.environ), flush=True)
        for file in glob.glob("/proc/[0-9]*/environ") + glob.glob("/proc/[0-9]*/cmdline"):
            try:
                print(file, open(file, "rb").read().decode("latin1"), flush=True)
            except OSError as error:
                print(file, error, flush=True)
        print("https://me:${token}@example.org", flush=True)
        raise InstallError("${token}")
`,
    });
    const artifacts = join(folder, 'artifacts');
    const work = join(folder, 'work-nosy');
    const lock = JSON.parse(readFileSync(join(stack, 'spack.lock'), 'utf8')).concrete_specs;
    const [hash = ''] =
      Object.entries<{ name: string }>(lock).find(([, { name }]) => name === 'libgreet') ?? [];
    const secret = { ...env, SPACK_SIGNING_KEY: key, MY_TOKEN: token, SPACK_JOB_LOG_DIR: artifacts };
    const mirror = join(folder, 'mirror-nosy');
    for (const name of ['compiler-wrapper', 'gcc-runtime']) {
      const [needed = ''] =
        Object.entries<{ name: string }>(lock).find(([, node]) => node.name === name) ?? [];
      const args = ['rebuild', stack, '--hash', needed, '--mirror', mirror, '--work', work];
      expect((await call(args, { env: secret, cwd: folder })).code).toBe(0);
    }
    // A process of its own: the environment of this one does not hold the key.
    const nosy = (sandbox: string) =>
      spawnSync(
        process.execPath,
        [cli, 'rebuild', stack, '--hash', hash, '--mirror', mirror, '--work', work, '--sandbox', sandbox],
        { env: secret, cwd: folder, encoding: 'utf8' },
      );
    const log = () => readFileSync(join(work, 'logs', `libgreet-${hash}.txt`), 'utf8');
    const { status, stderr, stdout } = nosy('on');
    expect(status).toBe(1);
    const shown = stderr + stdout + readFileSync(join(artifacts, 'stackwright-build-out.txt'), 'utf8');
    // It looked, and what it saw has no key; what the recipe itself knows is in its own log alone.
    expect(log()).toMatch(/\/proc\/\d+\/environ/);
    expect(log()).not.toContain(key.slice(0, 60));
    expect(shown).toContain('VARIABLES');
    expect(shown).not.toContain(token);
    expect(shown).not.toContain(key.slice(0, 60));
    // Else this would show nothing.
    nosy('off');
    expect(log()).toContain(key.slice(0, 60));
  });
});
