import { spawn } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  createKey,
  formatPublicKey,
  formatSigningKey,
  KeySigner,
  openV3Mirror,
  trustOf,
  verifyMirror,
} from '@stackwright/buildcache';
import { digestOf } from '@stackwright/oci';
import { madeHash, madePackage } from '@stackwright/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { call } from './call.js';

const cli = fileURLToPath(new URL('../dist/cli.js', import.meta.url));
const built = existsSync(cli);
const names = Array.from({ length: 3 }, (_, i) => `p${i}`);
const kept = names.slice(0, 1);
const content = (name: string) => Buffer.alloc(100_000, `${name} `);

describe.skipIf(!built)(
  `kill -9 of the command at every change of a file${built ? '' : ' (not built: tsc --build)'}`,
  () => {
    let base: string;
    let env: NodeJS.ProcessEnv;
    let trust: string;

    beforeAll(async () => {
      base = mkdtempSync(join(tmpdir(), 'stackwright-kill-'));
      const key = await createKey({ name: 'Killed' });
      trust = formatPublicKey(key);
      writeFileSync(join(base, 'key.pub'), trust);
      env = { PATH: process.env['PATH'], SPACK_SIGNING_KEY: formatSigningKey(key) };
      writeTree(join(base, 'tree'));
      // Two mirrors to begin with: one whole, one whose index lacks half of its packages.
      const signer = new KeySigner(key);
      for (const start of ['whole', 'behind']) {
        const mirror = await openV3Mirror(join(base, start));
        for (const [index, name] of names.entries()) {
          if (start === 'behind' && index === 1) await mirror.updateIndex();
          await mirror.push(madePackage(name, { content: content(name) }), { signer });
        }
        if (start === 'whole') await mirror.updateIndex();
      }
      mkdirSync(join(base, 'nothing'));
      writeFileSync(join(base, 'hook.mjs'), hook);
      writeFileSync(join(base, 'keep'), kept.map((name) => `/${madeHash(name)}\n`).join(''));
    }, 60_000);
    afterAll(() => rmSync(base, { recursive: true, force: true }));

    it.each([
      ['a push', 'nothing', ['mirror', 'push', 'mirror', '--tree', 'tree'], names],
      ['an index', 'behind', ['mirror', 'index', 'mirror'], names],
      ['a copy', 'nothing', ['mirror', 'copy', 'whole', 'mirror', '--trust', 'key.pub'], names],
      [
        'a prune',
        'whole',
        ['mirror', 'prune', 'mirror', '--keep', 'keep', '--grace', '0s', '--delete'],
        kept,
      ],
    ] as const)(
      'of %s: what is there verifies, and a second run finishes',
      async (_, start, args, result) => {
        const folder = begin(start);
        expect(await run(folder, args, Number.MAX_SAFE_INTEGER)).toBe('ended');
        const states = distinct(join(folder, 'states'));
        // Else the command changed nothing in several steps, and nothing is shown.
        expect(states.length).toBeGreaterThan(5);
        for (const state of states) await check(state, folder, start, args, result);
        // Killed for real, now and then: what was in flight at that moment may have been done or not.
        const changes = readdirSync(join(folder, 'states')).length;
        for (const part of [1 / 3, 2 / 3]) {
          const victim = begin(start);
          const outcome = await run(victim, args, Math.ceil(changes * part));
          expect([part, outcome]).toEqual([part, 'killed']);
          await check(join(victim, 'mirror'), folder, start, args, result);
        }
      },
      120_000,
    );

    /** Looks at what a command left that was stopped, and runs it again. */
    async function check(
      state: string,
      folder: string,
      start: string,
      args: readonly string[],
      result: readonly string[],
    ): Promise<void> {
      const at = basename(state);
      rmSync(join(folder, 'mirror'), { recursive: true });
      cpSync(state, join(folder, 'mirror'), { recursive: true });
      expect([at, await findings(folder, 'error')]).toEqual([at, []]);
      const { code, stderr } = await call(args, { cwd: folder, env });
      expect([at, code, code === 0 ? '' : stderr]).toEqual([at, 0, '']);
      expect([at, await findings(folder)]).toEqual([at, []]);
      const mirror = await openV3Mirror(join(folder, 'mirror'));
      expect([at, [...(await mirror.index()).hashes].sort()]).toEqual([at, result.map(madeHash).sort()]);
      if (start === 'whole') expect([at, (await mirror.planPrune({ grace: 0 })).blobs]).toEqual([at, []]);
    }

    /** A folder to run in, with a mirror to begin with. */
    function begin(start: string): string {
      const folder = mkdtempSync(join(base, 'run-'));
      for (const name of ['key.pub', 'keep', 'tree', 'whole'])
        symlinkSync(join(base, name), join(folder, name));
      cpSync(join(base, start), join(folder, 'mirror'), { recursive: true });
      return folder;
    }

    async function findings(folder: string, severity?: 'error') {
      const mirror = await openV3Mirror(join(folder, 'mirror'));
      const keys = [{ text: trust, from: 'key.pub' }];
      const trusting = mirror.withPolicy({ kind: 'trusted', trust: await trustOf({ keys }) });
      const { findings: all } = await verifyMirror(trusting);
      return all.filter((one) => severity === undefined || one.severity === severity);
    }

    /** Runs the command, keeping the mirror as it is before each change of a file; before the `at`th it is killed. */
    function run(cwd: string, args: readonly string[], at: number): Promise<'killed' | 'ended'> {
      const child = spawn(process.execPath, ['--import', join(base, 'hook.mjs'), cli, ...args], {
        cwd,
        env: { ...env, KILL_AT: String(at) },
        stdio: 'ignore',
      });
      return new Promise((resolve, reject) => {
        child.once('error', reject).once('exit', (code, signal) => {
          if (code) reject(new Error(`exit code ${code}: ${args.join(' ')}`));
          else resolve(signal === 'SIGKILL' ? 'killed' : 'ended');
        });
      });
    }
  },
);

/** Folders of a folder, each content once. */
function distinct(folder: string): string[] {
  const found = new Map<string, string>();
  for (const name of readdirSync(folder)) {
    const state = join(folder, name);
    const files = readdirSync(state, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .sort();
    const content = files.map((file) => [relative(state, file), digestOf(readFileSync(file))]);
    found.set(JSON.stringify(content), state);
  }
  return [...found.values()];
}

/** Keeps the mirror as it is before each change of a file, which is what a kill at that moment leaves. */
const hook = `
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
const at = Number(process.env.KILL_AT);
const { cpSync, mkdirSync, rmSync } = fs;
let count = 0;
mkdirSync('states', { recursive: true });
const keep = (to) => {
  for (let tries = 0; ; tries++) {
    try {
      return cpSync('mirror', to, { recursive: true });
    } catch (error) {
      // Renamed or deleted by another thread while it was copied.
      if (error.code !== 'ENOENT' || tries === 20) throw error;
      rmSync(to, { recursive: true, force: true });
    }
  }
};
const counted = (object, name) => {
  const original = object[name];
  object[name] = (...args) => {
    if (++count === at) process.kill(process.pid, 'SIGKILL');
    if (at === Number.MAX_SAFE_INTEGER) keep('states/' + count);
    return original.apply(object, args);
  };
};
for (const name of ['copyFile', 'link', 'mkdir', 'rename', 'rm', 'rmdir', 'unlink', 'writeFile']) counted(fs.promises, name);
counted(fs, 'createWriteStream');
syncBuiltinESMExports();
`;

/** An install tree of all packages, as Spack leaves one. */
function writeTree(root: string): void {
  const installs: Record<string, object> = {};
  for (const name of names) {
    const { hash, specText } = madePackage(name);
    const prefix = join(root, `${name}-1.0-${hash}`);
    mkdirSync(join(prefix, '.spack'), { recursive: true });
    writeFileSync(join(prefix, 'file'), content(name));
    const { spec } = JSON.parse(specText) as { spec: { nodes: object[] } };
    writeFileSync(join(prefix, '.spack', 'spec.json'), JSON.stringify({ spec }));
    installs[hash] = { spec: spec.nodes[0], path: prefix, installed: true, ref_count: 0, explicit: true };
  }
  mkdirSync(join(root, '.spack-db'));
  writeFileSync(
    join(root, '.spack-db', 'index.json'),
    JSON.stringify({ database: { version: '8', installs } }),
  );
}
