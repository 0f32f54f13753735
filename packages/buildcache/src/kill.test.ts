import { spawn } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import { openMirror, planPrune, prune, pushPackages, updateIndex, verifyMirror } from './index.js';
import { madeHash, madePackage, removeTemporaryFolders, temporaryFolder } from './testing.js';

afterEach(removeTemporaryFolders);

const built = fileURLToPath(new URL('../dist/testing.js', import.meta.url));
const dist = (file: string) => pathToFileURL(join(built, '..', file)).href;

/** Works on mirrors without end, so that a kill always hits something. */
const worker = (folder: string) => `
import { openMirror, planPrune, prune, pushPackages, updateIndex, copyPackages, presentPackages } from '${dist('index.js')}';
import { madePackage, madeHash } from '${dist('testing.js')}';
const names = Array.from({ length: 12 }, (_, i) => 'p' + i);
const pick = () => names.filter(() => Math.random() < 0.5);
const [a, b] = [await openMirror('${folder}/a'), await openMirror('${folder}/b')];
process.stdout.write('ready');
for (;;) {
  const wanted = pick();
  await pushPackages(a, wanted.map((name) => madePackage(name, { content: Buffer.alloc(300000, name) })), { force: Math.random() < 0.3 });
  await updateIndex(a, { full: Math.random() < 0.3, keepReplaced: 0 });
  await copyPackages(a, b, [...(await presentPackages(a)).values()], {});
  await updateIndex(b, { keepReplaced: 0 });
  const keep = new Set(pick().map(madeHash));
  for (const mirror of [a, b]) await prune(mirror, await planPrune(mirror, { keep, grace: 0 }), { grace: 0 });
}`;

describe.skipIf(!existsSync(built))('killed at 50 random moments (needs the build: tsc --build)', () => {
  it('of a push, an index, a copy or a prune, a mirror still verifies, and a second run finishes', async () => {
    const folder = temporaryFolder();
    const script = join(folder, 'worker.mjs');
    writeFileSync(script, worker(folder));
    for (let round = 0; round < 50; round++) {
      const child = spawn(process.execPath, [script], { stdio: ['ignore', 'pipe', 'pipe'] });
      let complaint = '';
      child.stderr.on('data', (chunk: Buffer) => (complaint += chunk));
      await new Promise((resolve) => child.stdout.once('data', resolve));
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 250));
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGKILL');
      await ended;
      expect(complaint).toBe('');
      for (const name of ['a', 'b']) {
        const mirror = await openMirror(join(folder, name));
        const { findings } = await verifyMirror(mirror);
        expect(findings.filter((one) => one.severity === 'error')).toEqual([]);
      }
    }
    const names = Array.from({ length: 12 }, (_, i) => `p${i}`);
    for (const name of ['a', 'b']) {
      const mirror = await openMirror(join(folder, name));
      const { failed } = await pushPackages(
        mirror,
        names.map((one) => madePackage(one, { content: Buffer.alloc(300_000, one) })),
      );
      expect(failed).toEqual([]);
      await updateIndex(mirror, { keepReplaced: 0 });
      await prune(mirror, await planPrune(mirror, { grace: 0 }), { grace: 0 });
      expect(await verifyMirror(mirror)).toMatchObject({ packages: 12, findings: [] });
      expect([...(await mirror.index()).hashes].sort()).toEqual(names.map(madeHash).sort());
      expect((await planPrune(mirror, { grace: 0 })).blobs).toEqual([]);
    }
  }, 300_000);
});
