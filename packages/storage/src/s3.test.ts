import { Readable } from 'node:stream';
import { ListMultipartUploadsCommand, type S3Client } from '@aws-sdk/client-s3';
import { cephMissing, inParallel, type S3Server, startFaultyProxy, startS3 } from '@stackwright/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ObjectStore, openStore, readObject, StorageError } from './index.js';
import { copyParts } from './multipart.js';
import { S3Store } from './s3.js';

const missing = cephMissing();
const quick = { attempts: 5, first: 1, longest: 5 };
const code = (promise: Promise<unknown>) =>
  promise.then(
    () => 'done',
    (error: Error & { code?: string }) =>
      error instanceof StorageError || 'kind' in error ? error.code : error.name,
  );

describe.skipIf(missing)(`an S3 bucket of Ceph (${missing ?? 'RADOS gateway on 127.0.0.1'})`, () => {
  let server: S3Server;
  let store: ObjectStore;
  let raw: S3Client;

  beforeAll(async () => {
    server = await startS3();
    raw = server.client();
    await server.createBucket('bucket');
    store = await openStore('s3://bucket/some/mirror', { env: server.env });
  }, 120_000);
  afterAll(async () => {
    await store?.close();
    raw?.destroy();
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

  it.each([
    ['fails', 'checksum', () => failing()],
    ['ends early', 'truncated', () => Readable.from([Buffer.alloc(17 << 20)])],
    ['gives too much', 'truncated', () => Readable.from([Buffer.alloc(17 << 20), Buffer.alloc(17 << 20)])],
  ] as const)('leaves nothing behind when a large stream %s', async (_, expected, open) => {
    expect(await code(store.put('broken', { size: 30 << 20, open }))).toBe(expected);
    expect(await store.head('broken')).toBeUndefined();
    expect(await openUploads()).toEqual([]);
  });

  it('opens the source again when it breaks off, as often as may help', async () => {
    let opened = 0;
    const open = () => {
      opened++;
      const part = Buffer.alloc(10 << 20, 'x');
      return opened < 3
        ? failing(new StorageError('unavailable', 'lost', { transient: true }))
        : Readable.from([part]);
    };
    const patient = await openStore('s3://bucket/some/mirror', { env: server.env, retry: quick });
    await patient.put('again', { size: 10 << 20, open });
    expect(opened).toBe(3);
    expect((await store.head('again'))?.size).toBe(10 << 20);
    await patient.close();
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

  it('finds out with its first write whether conditions hold', async () => {
    await server.createBucket('forgetful');
    await server.openBucket('forgetful');
    const proxy = await startFaultyProxy(server.endpoint, 0, ['if-match', 'if-none-match']);
    for (const [endpoint, holds] of [
      [server.endpoint, true],
      [proxy.url, false],
    ] as const) {
      for (const kind of ['absent', 'match'] as const) {
        const open = await openStore('s3://forgetful', { env: {}, endpoint, anonymous: true });
        const key = `${kind}-${holds}`;
        const before = kind === 'match' ? (await open.put(key, Buffer.from('0'))).etag! : '';
        const precondition = kind === 'match' ? { match: before } : ({ absent: true } as const);
        await open.put(key, Buffer.from('1'), { precondition });
        expect([key, open.conditional]).toEqual([key, holds]);
        expect(await code(open.put(key, Buffer.from('2'), { precondition }))).toBe('precondition');
        await open.close();
      }
    }
    await proxy.stop();
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

  it('copies what is too large for one request part by part', async () => {
    const content = Buffer.concat([Buffer.alloc(9 << 20, 'abc'), Buffer.alloc(9 << 20, 'defg')]);
    await store.put('large', content);
    const { etag } = (await store.head('large'))!;
    const signal = undefined;
    const target = { client: raw, bucket: 'bucket', key: 'some/mirror/copy', signal, request: retryLess };
    const from = { size: content.length, etag };
    await copyParts(target, 'bucket/some/mirror/large', from, 'text/plain', 6 << 20);
    expect((await readObject(store, 'copy')).bytes.equals(content)).toBe(true);
    const gone = copyParts(target, 'bucket/some/mirror/never', from, 'text/plain', 6 << 20);
    await expect(gone).rejects.toThrow();
    expect(await openUploads()).toEqual([]);
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

  it('stands that proxy with objects in parts, too', async () => {
    const proxy = await startFaultyProxy(server.endpoint, 1 / 3);
    const faulty = await openStore('s3://bucket/faulty-parts', {
      env: { ...server.env, S3_ENDPOINT_URL: proxy.url },
      retry: { attempts: 25, first: 2, longest: 50 },
    });
    const content = (key: string) => Buffer.alloc(18 << 20, key);
    const keys = Array.from({ length: 8 }, (_, i) => `large/${i}`);
    await inParallel(keys, 2, async (key) => {
      await faulty.put(key, { size: 18 << 20, open: () => Readable.from([content(key)]) });
    });
    await inParallel(keys, 2, async (key) => {
      const { bytes } = await readObject(faulty, key);
      expect(bytes.equals(content(key))).toBe(true);
    });
    // Uploads whose beginning was answered to nobody.
    const { length } = await openUploads('faulty-parts/');
    expect(await faulty.sweep!(3_600_000)).toBe(0);
    expect(await faulty.sweep!(0)).toBe(length);
    expect(await openUploads('faulty-parts/')).toEqual([]);
    expect(proxy.faults()).toBeGreaterThan(15);
    await faulty.close();
    await proxy.stop();
  }, 120_000);

  it.each([
    ['small', 1 << 20],
    ['large', 50 << 20],
  ] as const)('stops when its signal fires, leaving nothing of a %s object', async (_, size) => {
    for (const delay of [0, 20, 100]) {
      const controller = new AbortController();
      // Gives some and then hangs.
      const source = new Readable({ read() {} });
      source.push(Buffer.alloc(size / 2));
      const pending = code(store.put('x', { size, open: () => source }, { signal: controller.signal }));
      await new Promise((resolve) => setTimeout(resolve, delay));
      controller.abort();
      expect(await pending).toBe('AbortError');
      expect(await store.head('x')).toBeUndefined();
      expect(await openUploads()).toEqual([]);
    }
  });

  it('stops reading when its signal fires', async () => {
    await store.put('long', Buffer.alloc(6 << 20));
    const controller = new AbortController();
    const { body } = await store.get('long', { signal: controller.signal });
    const reading = body.toArray();
    controller.abort();
    expect(await code(reading)).toBe('AbortError');
  });

  /** Uploads in parts that were neither completed nor removed. */
  async function openUploads(prefix = 'some/mirror/') {
    const { Uploads = [] } = await raw.send(new ListMultipartUploadsCommand({ Bucket: 'bucket' }));
    return Uploads.map(({ Key = '' }) => Key).filter((key) => key.startsWith(prefix));
  }
});

const retryLess = <T>(_: AbortSignal, work: (attempt: number) => Promise<T>) => work(1);

/** Some bytes, then an error: one of the content's owner, if none is given. */
function failing(
  error: Error = Object.assign(new Error('wrong checksum'), { kind: 'input', code: 'checksum' }),
) {
  return Readable.from(
    (async function* () {
      yield Buffer.alloc(9 << 20);
      throw error;
    })(),
  );
}
