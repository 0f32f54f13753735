import { randomUUID } from 'node:crypto';
import { v3 } from '@stackwright/buildcache';
import { isRegistryUrl } from '@stackwright/spack-env';
import { type ObjectInfo, type ObjectStore, openStore, readObject, StorageError } from '@stackwright/storage';
import type { Caller } from '../caller.js';
import { connectionOptions } from '../credentials.js';
import { isNew, type MirrorPlace } from '../mirrors.js';
import { type Diagnosis, ok, problem, warning } from './diagnosis.js';

/** Milliseconds by which clocks may differ; S3 refuses requests from 15 minutes on. */
const skew = 5 * 60_000;
const day = 86_400_000;

/**
 * Tries what pushing to the destination needs: write, read, list and delete, with an object of its own that is removed
 * again; and tells whether conditions are kept, how the clocks differ and how old the index is. Nothing else that is
 * there is touched. A registry and a folder that is still to be made are not tried.
 */
export async function checkStore({ env, signal }: Caller, place: MirrorPlace): Promise<readonly Diagnosis[]> {
  if (isRegistryUrl(place.push) || (await isNew(place.push))) return [];
  const what = `writing to ${place.name}`;
  const store = await openStore(place.push, connectionOptions(env, place.connection?.push));
  try {
    if (store.readOnly) {
      const fix = 'Give the mirror a push: address that can be written, such as s3:// or a path.';
      return [problem(what, `${store.url} can be read only, and jobs push to it.`, fix)];
    }
    return await tryStore(store, what, signal);
  } finally {
    await store.close();
  }
}

async function tryStore(store: ObjectStore, what: string, signal: AbortSignal): Promise<Diagnosis[]> {
  const key = `stackwright-doctor-${randomUUID()}/try`;
  const found: (Diagnosis | undefined)[] = [];
  try {
    const written = await replace(store, key, signal);
    found.push(await tryReading(store, what, written, signal), unconditional(store, what));
    found.push(await checkClock(store, what, key, signal));
  } catch (error) {
    // Whoever works on a stack need not be able to push: jobs have credentials of their own.
    if (!(error instanceof StorageError) || error.code !== 'denied') throw error;
    return [warning(what, error.message, error.hint)];
  } finally {
    // Also after an interruption. What is wrong with it is told below.
    await store.delete([key]).catch(() => {});
  }
  found.push(await checkDeleted(store, what, key, signal));
  const wrong = found.filter((one) => one !== undefined);
  if (wrong.length > 0) return wrong;
  const age = await indexAge(store, signal);
  return [ok(what, `${store.url}: can be written, read, listed and deleted, and keeps conditions${age}`)];
}

/** Writes an object and replaces it, each on a condition. */
async function replace(store: ObjectStore, key: string, signal: AbortSignal): Promise<ObjectInfo> {
  const { etag } = await store.put(key, Buffer.from('first'), { precondition: { absent: true }, signal });
  const precondition = etag ? { match: etag } : undefined;
  return store.put(key, Buffer.from('second'), { precondition, signal });
}

async function tryReading(
  store: ObjectStore,
  what: string,
  { key }: ObjectInfo,
  signal: AbortSignal,
): Promise<Diagnosis | undefined> {
  const { bytes } = await readObject(store, key, undefined, signal);
  if (bytes.toString() !== 'second')
    return problem(
      what,
      `${store.url} answers with an old version of what was just replaced.`,
      'Read it without a cache between.',
    );
  for await (const listed of store.list(key, { keysOnly: true, signal }))
    if (listed.key === key) return undefined;
  return problem(
    what,
    `${store.url} does not list what was just written: the index would lack it.`,
    'Use a server whose listings are consistent, or write the index later: stackwright mirror index.',
  );
}

function unconditional(store: ObjectStore, what: string): Diagnosis | undefined {
  if (store.conditional) return undefined;
  return warning(
    what,
    `${store.url} writes although a condition does not hold: after each write of the index the packages are listed again.`,
    'With many jobs at once use a server that keeps If-Match and If-None-Match.',
  );
}

async function checkClock(
  store: ObjectStore,
  what: string,
  key: string,
  signal: AbortSignal,
): Promise<Diagnosis | undefined> {
  const modified = (await store.head(key, { signal }))?.modified;
  const difference = modified ? Date.now() - modified.getTime() : 0;
  if (Math.abs(difference) < skew) return undefined;
  const minutes = Math.round(Math.abs(difference) / 60_000);
  const text = `This machine's clock is ${minutes} minutes ${difference > 0 ? 'ahead of' : 'behind'} that of ${store.url}.`;
  return warning(what, text, 'timedatectl set-ntp true');
}

async function checkDeleted(
  store: ObjectStore,
  what: string,
  key: string,
  signal: AbortSignal,
): Promise<Diagnosis | undefined> {
  if (!(await store.head(key, { signal }))) return undefined;
  return warning(
    what,
    `${store.url}/${key} could not be deleted: prune will not work.`,
    'Allow s3:DeleteObject there, and delete it.',
  );
}

async function indexAge(store: ObjectStore, signal: AbortSignal): Promise<string> {
  const modified = (await store.head(v3.index, { signal }))?.modified;
  if (!modified) return '';
  const days = Math.max(0, Math.floor((Date.now() - modified.getTime()) / day));
  return `; the index was written ${days === 0 ? 'today' : days === 1 ? 'a day ago' : `${days} days ago`}`;
}
