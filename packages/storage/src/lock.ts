import { randomBytes } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { link, readFile, rename, stat, unlink, utimes, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { StorageError } from './error.js';

/** Milliseconds that a lock of another machine may be held: its holder cannot be asked whether it lives. */
const remoteLimit = 20_000;
/** Milliseconds that a lock is waited for. */
const waitLimit = 30_000;

/** Does `work` as the only one for a path, over all processes of this machine; a dead holder's lock is taken over. */
export async function locked(
  path: string,
  signal: AbortSignal | undefined,
  work: () => Promise<void>,
): Promise<void> {
  const release = await acquire(stemOf(path), signal);
  try {
    await work();
  } finally {
    await release();
  }
}

/** Who has a lock. */
export interface LockHolder {
  readonly pid: number;
  readonly host: string;
}

/**
 * Takes the lock of a path for as long as this process works on it; a dead holder's lock is taken over.
 * @returns what gives it back; or, at once, who has it
 */
export async function holdLock(
  path: string,
  signal?: AbortSignal,
): Promise<{ readonly release: () => Promise<void> } | { readonly holder: LockHolder }> {
  const stem = stemOf(path);
  const release = await acquire(stem, signal, 'once');
  if (!release) return { holder: holderOf(await readFile(`${stem}.lock`, 'utf8').catch(() => '')) };
  // Others on this machine ask whether the holder lives; those elsewhere can only see that it was here.
  const beat = setInterval(() => {
    const now = new Date();
    utimes(`${stem}.lock`, now, now).catch(() => {});
  }, remoteLimit / 4).unref();
  return {
    release: async () => {
      clearInterval(beat);
      await release();
    },
  };
}

/** Who holds the lock of a path; undefined where nobody does, or where the holder is gone. */
export async function lockHolder(path: string): Promise<LockHolder | undefined> {
  const lock = `${stemOf(path)}.lock`;
  const text = await readFile(lock, 'utf8').catch(() => undefined);
  return text === undefined || (await deadHolder(lock)) === text ? undefined : holderOf(text);
}

/** The path of a lock without `.lock`. */
function stemOf(path: string): string {
  return join(dirname(path), `.${basename(path).slice(0, 180)}`);
}

function holderOf(text: string): LockHolder {
  const [process_ = '', where = ''] = text.split(' ');
  return { pid: Number.parseInt(process_, 10), host: where.split('/')[0] ?? '' };
}

async function acquire(stem: string, signal: AbortSignal | undefined): Promise<() => Promise<void>>;
async function acquire(
  stem: string,
  signal: AbortSignal | undefined,
  tries: 'once',
): Promise<(() => Promise<void>) | undefined>;
/**
 * @param stem the lock's path without `.lock`
 * @param tries `once`: do not wait while its holder lives
 */
async function acquire(
  stem: string,
  signal: AbortSignal | undefined,
  tries?: 'once',
): Promise<(() => Promise<void>) | undefined> {
  const lock = `${stem}.lock`;
  const mine = `${process.pid}@${startOf(process.pid)} ${place()} ${randomBytes(6).toString('hex')}`;
  const file = join(dirname(lock), `.${randomBytes(6).toString('hex')}.tmp`);
  const started = Date.now();
  const release = async () => {
    if ((await readFile(lock, 'utf8').catch(() => '')) === mine) await unlink(lock).catch(() => {});
  };
  try {
    // Written beside and linked, so that nobody ever sees a lock that does not say whose it is.
    await writeFile(file, mine, { flag: 'wx' });
    for (;;) {
      signal?.throwIfAborted();
      try {
        await link(file, lock);
        return release;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      }
      const dead = await deadHolder(lock);
      if (dead !== undefined) {
        // Of several that see the same dead lock one at a time may replace it, and only while it is still that one.
        const done = await acquire(`${stem}.${dead.replace(/^.* |\W/g, '')}`, signal);
        try {
          if ((await readFile(lock, 'utf8').catch(() => undefined)) !== dead) continue;
          await rename(file, lock);
          return release;
        } finally {
          await done();
        }
      }
      if (tries === 'once') {
        // It may have been given back just now.
        if (!(await stat(lock).catch(() => undefined))) continue;
        return undefined;
      }
      if (Date.now() - started > waitLimit) {
        throw new StorageError('unavailable', `${lock} has been held for ${waitLimit / 1000} s.`, {
          hint: 'Remove it if no other process writes to this mirror.',
        });
      }
      await sleep(5 + Math.random() * 20, undefined, { signal });
    }
  } finally {
    await unlink(file).catch(() => {});
  }
}

/** What a lock says whose holder is gone; undefined while the holder lives or the lock is gone. */
async function deadHolder(lock: string): Promise<string | undefined> {
  try {
    const text = await readFile(lock, 'utf8');
    const [holder = '', where] = text.split(' ');
    const [pid, start] = holder.split('@');
    if (where === place()) return isAlive(Number(pid), start) ? undefined : text;
    return Date.now() - (await stat(lock)).mtimeMs > remoteLimit ? text : undefined;
  } catch {
    return undefined;
  }
}

/** Where process ids mean the same: a container on the same host has its own. */
function place(): string {
  try {
    return `${hostname()}/${readlinkSync('/proc/self/ns/pid').replace(/\D+/g, '')}`;
  } catch {
    return hostname();
  }
}

/** When a process started, in ticks since the boot: its id may have become another's. Empty where nobody says it. */
function startOf(pid: number): string {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return text.slice(text.lastIndexOf(')') + 2).split(' ')[19] ?? '';
  } catch {
    return '';
  }
}

function isAlive(pid: number, start: string | undefined): boolean {
  try {
    process.kill(pid, 0);
    return !start || startOf(pid) === start;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
