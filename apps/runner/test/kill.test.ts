import { spawn } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
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
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { madeHash, madePackage } from '../../../packages/buildcache/src/testing.js';
import { call } from './call.js';

const cli = fileURLToPath(new URL('../dist/cli.js', import.meta.url));
const built = existsSync(cli);
const kills = 50;
const names = Array.from({ length: 12 }, (_, i) => `p${i}`);
const kept = names.slice(0, 5);
const content = (name: string) => Buffer.alloc(100_000, `${name} `);

describe.skipIf(!built)(
  `kill -9 of the command at ${kills} moments${built ? '' : ' (not built: tsc --build)'}`,
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
          if (start === 'behind' && index === 6) await mirror.updateIndex();
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
        const begin = () => {
          rmSync(join(base, 'mirror'), { recursive: true, force: true });
          cpSync(join(base, start), join(base, 'mirror'), { recursive: true });
        };
        begin();
        await killed(args, Number.MAX_SAFE_INTEGER);
        const changes = Number(readFileSync(join(base, 'changes'), 'utf8'));
        expect(changes).toBeGreaterThan(5);
        const states = new Set<string>();
        for (let hit = 0, attempt = 0; hit < kills; attempt++) {
          // Of what runs at once, one run may do a little less than another.
          expect(attempt).toBeLessThan(2 * kills);
          begin();
          if (!(await killed(args, 1 + Math.random() * changes))) continue;
          hit++;
          states.add(readdirSync(join(base, 'mirror'), { recursive: true }).sort().join());
          expect((await findings()).filter((one) => one.severity === 'error')).toEqual([]);
          const { code, stderr } = await call(args, { cwd: base, env });
          expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
          expect(await findings()).toEqual([]);
          const mirror = await openV3Mirror(join(base, 'mirror'));
          expect([...(await mirror.index()).hashes].sort()).toEqual(result.map(madeHash).sort());
          if (start === 'whole') expect((await mirror.planPrune({ grace: 0 })).blobs).toEqual([]);
        }
        // Else all were killed at the same moment, and nothing is shown.
        expect(states.size).toBeGreaterThan(5);
      },
      240_000,
    );

    async function findings() {
      const mirror = await openV3Mirror(join(base, 'mirror'));
      const keys = [{ text: trust, from: 'key.pub' }];
      return (await verifyMirror(mirror.withPolicy({ kind: 'trusted', trust: await trustOf({ keys }) })))
        .findings;
    }

    /** Runs the command until about its `at`th change of a file. Returns whether it was killed there. */
    function killed(args: readonly string[], at: number): Promise<boolean> {
      const child = spawn(process.execPath, ['--import', join(base, 'hook.mjs'), cli, ...args], {
        cwd: base,
        env: { ...env, KILL_AT: String(at) },
        stdio: 'ignore',
      });
      return new Promise((resolve, reject) => {
        child.once('error', reject).once('exit', (code, signal) => {
          if (code) reject(new Error(`exit code ${code}: ${args.join(' ')}`));
          else resolve(signal === 'SIGKILL');
        });
      });
    }
  },
);

/** Counts changes of files; before one of them, or a moment later, the process is killed. */
const hook = `
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
const at = Number(process.env.KILL_AT);
let count = 0;
const counted = (object, name) => {
  const original = object[name];
  object[name] = (...args) => {
    count++;
    if (count === Math.floor(at)) {
      if (at % 1 < 0.5) process.kill(process.pid, 'SIGKILL');
      setTimeout(() => process.kill(process.pid, 'SIGKILL'), (at % 1) * 4);
    }
    return original.apply(object, args);
  };
};
for (const name of ['copyFile', 'link', 'mkdir', 'rename', 'rm', 'rmdir', 'unlink', 'writeFile']) counted(fs.promises, name);
counted(fs, 'createWriteStream');
syncBuiltinESMExports();
process.on('exit', () => fs.writeFileSync('changes', String(count)));
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
