import { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ObjectStore, openStore, readObject, StorageError } from './index.js';
import { S3Store } from './s3.js';
import { cephMissing, type S3Server, startFaultyProxy, startS3 } from './testing-s3.js';

const missing = cephMissing();
const code = (promise: Promise<unknown>) =>
  promise.then(
    () => 'done',
    (error: unknown) => (error instanceof StorageError ? error.code : (error as Error).name),
  );

describe.skipIf(missing)(`an S3 bucket of Ceph (${missing ?? 'RADOS gateway on 127.0.0.1'})`, () => {
  let server: S3Server;
  let store: ObjectStore;

  beforeAll(async () => {
    server = await startS3();
    await server.createBucket('bucket');
    store = await openStore('s3://bucket/some/mirror', { env: server.env });
  }, 120_000);
  afterAll(async () => {
    await store?.close();
    await server?.stop();
  });

  it('gives back what was put, whole or a range of it, under its prefix', async () => {
    await store.put('a/b+c d', Buffer.from('0123456789'), { contentType: 'text/plain' });
    expect((await readObject(store, 'a/b+c d')).bytes.toString()).toBe('0123456789');
    const { body } = await store.get('a/b+c d', { range: { start: 3, end: 5 } });
    expect(Buffer.concat(await body.toArray()).toString()).toBe('345');
    const root = await openStore('s3://bucket', { env: server.env });
    expect(await root.head('some/mirror/a/b+c d')).toMatchObject({ size: 10 });
    await root.close();
  });

  it('says not-found for what is not there, and that there is no such bucket', async () => {
    expect(await store.head('no')).toBeUndefined();
    expect(await code(store.get('no'))).toBe('not-found');
    const other = await openStore('s3://no-such-bucket', { env: server.env });
    expect(await code(other.get('x'))).toBe('invalid');
    await other.close();
  });

  it('sends large objects in parts, from a stream', async () => {
    const part = Buffer.alloc(1 << 20, 'abcdefg');
    const size = 20 * part.length + 5;
    const open = () =>
      Readable.from(
        (function* () {
          for (let i = 0; i < 20; i++) yield part;
          yield Buffer.from('12345');
        })(),
      );
    await store.put('large', { size, open });
    expect((await store.head('large'))?.size).toBe(size);
    let length = 0;
    for await (const chunk of (await store.get('large')).body) length += (chunk as Buffer).length;
    expect(length).toBe(size);
  });

  it('leaves nothing behind when a large stream fails', async () => {
    const open = () =>
      Readable.from(
        (async function* () {
          yield Buffer.alloc(9 << 20);
          throw new StorageError('truncated', 'the source ended');
        })(),
      );
    expect(await code(store.put('broken', { size: 30 << 20, open }))).not.toBe('done');
    expect(await store.head('broken')).toBeUndefined();
  });

  it('lets exactly one of many create an object, and replaces only the current version', async () => {
    const created = await Promise.all(
      Array.from({ length: 12 }, (_, i) =>
        code(store.put('one', Buffer.from(`${i}`), { precondition: { absent: true } })),
      ),
    );
    expect(created.filter((one) => one === 'done')).toHaveLength(1);
    const { etag } = (await store.head('one'))!;
    const replaced = await Promise.all(
      Array.from({ length: 8 }, (_, i) =>
        code(store.put('one', Buffer.from(`new ${i}`), { precondition: { match: etag! } })),
      ),
    );
    expect(replaced.filter((one) => one === 'done')).toHaveLength(1);
    expect(replaced.filter((one) => one === 'precondition')).toHaveLength(7);
  });

  it('lists and deletes more than a page', async () => {
    const keys = Array.from({ length: 1100 }, (_, i) => `many/${String(i).padStart(4, '0')}`);
    for (let at = 0; at < keys.length; at += 50) {
      await Promise.all(keys.slice(at, at + 50).map((key) => store.put(key, Buffer.from(key))));
    }
    const listed: string[] = [];
    for await (const { key } of store.list('many/')) listed.push(key);
    expect(listed.sort()).toEqual(keys);
    expect(await store.delete(keys)).toBe(1100);
    for await (const { key } of store.list('many/')) expect.fail(key);
  });

  it('copies inside the bucket', async () => {
    await store.put('from here', Buffer.from('copied'));
    await store.copy('from here', 'to/there');
    expect((await readObject(store, 'to/there')).bytes.toString()).toBe('copied');
  });

  it('says what is wrong with the credentials, without showing them', async () => {
    const env = { ...server.env, AWS_SECRET_ACCESS_KEY: 'not-the-secret' };
    const wrong = await S3Store.open('s3://bucket', { env });
    await expect(wrong.get('x')).rejects.toMatchObject({
      code: 'denied',
      kind: 'missing',
      message: expect.not.stringContaining('not-the-secret'),
    });
    await wrong.close();
  });

  it('stands a proxy that drops, delays, truncates and answers 500 and 503: 2,000 objects arrive whole', async () => {
    const proxy = await startFaultyProxy(server.endpoint);
    const events = new Map<string, number>();
    const faulty = await openStore('s3://bucket/faulty', {
      env: { ...server.env, S3_ENDPOINT_URL: proxy.url },
      retry: { attempts: 12, first: 2, longest: 50 },
      onEvent: ({ type }) => events.set(type, (events.get(type) ?? 0) + 1),
    });
    const content = (key: string) => Buffer.alloc(2000 + ((key.length * 977) % 3000), key);
    const keys = Array.from({ length: 2000 }, (_, i) => `blobs/${i}`);
    await inParallel(keys, 24, async (key) => void (await faulty.put(key, content(key))));
    await inParallel(keys, 24, async (key) => {
      const { bytes } = await readObject(faulty, key);
      expect(bytes.equals(content(key))).toBe(true);
    });
    const listed = new Map<string, number | undefined>();
    for await (const { key, size } of faulty.list('')) listed.set(key, size);
    expect([...listed.keys()].sort()).toEqual([...keys].sort());
    for (const [key, size] of listed) expect(size).toBe(content(key).length);
    expect(proxy.faults()).toBeGreaterThan(200);
    expect(events.get('retry')).toBeGreaterThan(100);
    await faulty.close();
    await proxy.stop();
  }, 120_000);

  it('stops when its signal fires', async () => {
    const controller = new AbortController();
    const pending = store.put(
      'x',
      { size: 50 << 20, open: () => Readable.from(slow()) },
      { signal: controller.signal },
    );
    setTimeout(() => controller.abort(), 50);
    expect(await code(pending)).toBe('AbortError');
    expect(await store.head('x')).toBeUndefined();
  });
});

async function* slow() {
  for (let i = 0; i < 50; i++) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    yield Buffer.alloc(1 << 20);
  }
}

async function inParallel<T>(
  items: readonly T[],
  width: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const queue = [...items];
  await Promise.all(
    Array.from({ length: width }, async () => {
      for (let item = queue.pop(); item !== undefined; item = queue.pop()) await work(item);
    }),
  );
}
