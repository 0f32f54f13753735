import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { holdLock, lockHolder } from './lock.js';

const folder = mkdtempSync(join(tmpdir(), 'lock-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const taken = async (path: string) => {
  const lock = await holdLock(path);
  if (!('release' in lock)) throw new Error(`held by ${lock.holder.pid}`);
  return lock;
};

describe('a lock that is held', () => {
  it('refuses others at once, names its holder, and can be taken when it was given back', async () => {
    const path = join(folder, 'work');
    const first = await taken(path);
    const holder = { pid: process.pid, host: hostname() };
    expect(await holdLock(path)).toEqual({ holder });
    expect(await lockHolder(path)).toEqual(holder);
    await first.release();
    expect(await lockHolder(path)).toBeUndefined();
    await (await taken(path)).release();
    expect(readdirSync(folder)).toEqual([]);
  });

  it('is taken over from a process that was killed, by one of many', async () => {
    const path = join(folder, 'killed');
    const script = `import { holdLock } from ${JSON.stringify(new URL('../dist/index.js', import.meta.url).href)};
await holdLock(process.argv[1]);
console.log('held');
setInterval(() => {}, 1000);`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script, path], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(child.stdout, 'data');
    expect(await holdLock(path)).toMatchObject({ holder: { pid: child.pid } });
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(await lockHolder(path)).toBeUndefined();
    const all = await Promise.all(Array.from({ length: 8 }, () => holdLock(path)));
    const got = all.filter((one) => 'release' in one);
    expect(got.length).toBe(1);
    for (const one of got) if ('release' in one) await one.release();
  });

  it.runIf(process.platform === 'linux')('is not kept by another process that got its id', async () => {
    const path = join(folder, 'reused');
    const first = await taken(path);
    const file = join(folder, '.reused.lock');
    const { readFileSync } = await import('node:fs');
    // As if this process had started at another time.
    writeFileSync(file, readFileSync(file, 'utf8').replace(/@\d+/, '@1'));
    const second = await taken(path);
    await first.release();
    expect(await holdLock(path)).toHaveProperty('holder');
    await second.release();
  });
});
