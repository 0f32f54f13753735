import { spawn } from 'node:child_process';
import { readlinkSync } from 'node:fs';
import { mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FolderStore, type ObjectStore, openStore, readObject, StorageError } from './index.js';

/** What a lock says of where its holder runs. */
const place = `${hostname()}/${readlinkSync('/proc/self/ns/pid').replace(/\D+/g, '')}`;
let folder: string;
let store: FolderStore;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'stackwright-storage-'));
  store = new FolderStore(folder);
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const text = async (from: ObjectStore, key: string) => (await readObject(from, key)).bytes.toString();
const code = (promise: Promise<unknown>) =>
  promise.then(
    () => 'done',
    (error: unknown) => (error instanceof StorageError ? error.code : (error as Error).name),
  );

describe('a folder as a store', () => {
  it('gives back what was put, whole or a range of it', async () => {
    await store.put('a/b', Buffer.from('0123456789'));
    expect(await text(store, 'a/b')).toBe('0123456789');
    const { body, size } = await store.get('a/b', { range: { start: 3, end: 5 } });
    expect(size).toBe(3);
    expect(Buffer.concat(await body.toArray()).toString()).toBe('345');
  });

  it('says not-found for what is not there', async () => {
    expect(await store.head('no')).toBeUndefined();
    expect(await code(store.get('no'))).toBe('not-found');
    expect(await code(store.copy('no', 'other'))).toBe('not-found');
  });

  it('lists by prefix, without the files of its own making', async () => {
    for (const key of ['x/1', 'x/2/3', 'xy', 'z']) await store.put(key, Buffer.from(key));
    await writeFile(join(folder, 'x', '.1.0a0b.tmp'), 'half');
    const keys: string[] = [];
    for await (const info of store.list('x/')) keys.push(info.key);
    expect(keys.sort()).toEqual(['x/1', 'x/2/3']);
  });

  it('refuses a stream that is not as long as announced and leaves nothing behind', async () => {
    const short = { size: 10, open: () => Readable.from([Buffer.from('short')]) };
    expect(await code(store.put('a', short))).toBe('truncated');
    expect(await readdir(folder)).toEqual([]);
  });

  it('lets exactly one of many create an object', async () => {
    const tries = Array.from({ length: 16 }, (_, i) =>
      code(store.put('one', Buffer.from(String(i)), { precondition: { absent: true } })),
    );
    expect((await Promise.all(tries)).filter((one) => one === 'done')).toHaveLength(1);
  });

  it('replaces a version only while it is the current one', async () => {
    const first = await store.put('v', Buffer.from('1'));
    const tries = Array.from({ length: 8 }, (_, i) =>
      code(store.put('v', Buffer.from(`new ${i}`), { precondition: { match: first.etag! } })),
    );
    const outcomes = await Promise.all(tries);
    expect(outcomes.filter((one) => one === 'done')).toHaveLength(1);
    expect(outcomes.filter((one) => one === 'precondition')).toHaveLength(7);
  });

  it('takes over the lock of a process that is gone', async () => {
    const { etag } = await store.put('v', Buffer.from('1'));
    const child = spawn(process.execPath, ['-e', ''], { stdio: 'ignore' });
    await new Promise((resolve) => child.once('exit', resolve));
    await writeFile(join(folder, '.v.lock'), `${child.pid} ${place} gone`);
    await store.put('v', Buffer.from('2'), { precondition: { match: etag! } });
    expect(await text(store, 'v')).toBe('2');
  });

  it('lets one of many that find the lock of a process that is gone take it over', async () => {
    const child = spawn(process.execPath, ['-e', ''], { stdio: 'ignore' });
    await new Promise((resolve) => child.once('exit', resolve));
    let { etag } = await store.put('v', Buffer.from('0'));
    for (let round = 1; round <= 20; round++) {
      await writeFile(join(folder, '.v.lock'), `${child.pid} ${place} dead${round}`);
      const tries = Array.from({ length: 12 }, (_, i) =>
        code(store.put('v', Buffer.from(`${round} ${i}`), { precondition: { match: etag! } })),
      );
      const outcomes = await Promise.all(tries);
      expect(outcomes.filter((one) => one === 'done')).toHaveLength(1);
      ({ etag } = (await store.head('v'))!);
    }
    expect(await readdir(folder)).toEqual(['v']);
  });

  it('deletes many, and folders that became empty', async () => {
    for (const key of ['d/1', 'd/e/2', 'keep']) await store.put(key, Buffer.from(key));
    expect(await store.delete(['d/1', 'd/e/2', 'never-there'])).toBe(3);
    expect(await readdir(folder)).toEqual(['keep']);
  });

  it('sweeps what killed writers left, once it is old', async () => {
    await writeFile(join(folder, '.a.00.tmp'), 'half');
    await writeFile(join(folder, '.b.00.tmp'), 'half');
    const old = new Date(Date.now() - 3_600_000);
    await utimes(join(folder, '.a.00.tmp'), old, old);
    expect(await store.sweep(60_000)).toBe(1);
    expect(await readdir(folder)).toEqual(['.b.00.tmp']);
  });

  it.each(['', '/etc/passwd', '../x', 'a/../../x', 'a//b', 'a/./b', 'a\0b'])(
    'refuses the key %j',
    async (key) => {
      expect(await code(store.put(key, Buffer.from('x')))).toBe('invalid');
    },
  );

  it.each([0, 1, 5])('leaves nothing behind when a put is aborted after %i turns', async (turns) => {
    for (let round = 0; round < 20; round++) {
      const controller = new AbortController();
      // A source that gives a little and then hangs.
      const source = new Readable({ read() {} });
      source.push(Buffer.alloc(1000));
      const pending = code(
        store.put('a/b', { size: 1e6, open: () => source }, { signal: controller.signal }),
      );
      for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve));
      controller.abort();
      expect(await pending).toBe('AbortError');
      expect(source.destroyed).toBe(true);
      expect(await readdir(join(folder, 'a')).catch(() => [])).toEqual([]);
    }
  });

  it('stops when its signal fires', async () => {
    const controller = new AbortController();
    controller.abort();
    expect(await code(store.put('a', Buffer.from('x'), { signal: controller.signal }))).toBe('AbortError');
  });
});

describe('opening a store', () => {
  it.each([
    ['relative', (at: string) => [at.split('/').at(-1)!, at.split('/').slice(0, -1).join('/')]],
    ['absolute', (at: string) => [at, '/']],
    ['file URL', (at: string) => [`file://${at}`, '/']],
  ] as const)('takes a path: %s', async (_, form) => {
    const [url, cwd] = form(folder);
    const opened = await openStore(url!, { cwd });
    expect(opened.url).toBe(`file://${folder}`);
  });

  it.each(['ftp://host/x', 'file://other-host/x', 's3://', ''])('refuses %j', async (url) => {
    expect(await code(openStore(url))).toBe('invalid');
  });
});
