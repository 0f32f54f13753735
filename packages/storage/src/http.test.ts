import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inParallel, nginxMissing, startFaultyProxy, startNginx } from '@stackwright/testing';
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { HttpStore, readObject, type StorageEvent } from './index.js';

const missing = nginxMissing();

let server: Server | undefined;
const quick = { attempts: 5, first: 1, longest: 5 };

async function serve(listener: RequestListener): Promise<string> {
  server = createServer(listener);
  await new Promise<void>((resolve) => server!.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

afterEach(() => {
  server?.closeAllConnections();
  server?.close();
});

describe('a web server as a store', () => {
  it('reads below its address, with names encoded', async () => {
    const asked: string[] = [];
    const url = await serve((request, response) => {
      asked.push(request.url!);
      response.end('hello');
    });
    const store = new HttpStore(`${url}/mirror/`, { retry: quick });
    expect((await readObject(store, 'a b/c+d')).bytes.toString()).toBe('hello');
    expect(asked).toEqual(['/mirror/a%20b/c%2Bd']);
  });

  it('sends user and password of the URL, and shows neither', async () => {
    const url = await serve((request, response) => {
      response.statusCode = request.headers.authorization === `Basic ${btoa('me:s3cret')}` ? 200 : 401;
      response.end('ok');
    });
    const store = new HttpStore(url.replace('//', '//me:s3cret@'), { retry: quick });
    expect((await readObject(store, 'x')).bytes.toString()).toBe('ok');
    expect(store.url).toBe(url);
  });

  it('sends a token, but not to where it is sent on', async () => {
    const seen: [string, string | undefined][] = [];
    const url = await serve((request, response) => {
      seen.push([request.headers.host!, request.headers.authorization]);
      if (request.headers.host!.startsWith('localhost')) return void response.end('ok');
      const { port } = server!.address() as AddressInfo;
      response.writeHead(302, { location: `http://localhost:${port}/elsewhere` }).end();
    });
    const store = new HttpStore(url, { token: 't0ken', retry: quick });
    expect((await readObject(store, 'x')).bytes.toString()).toBe('ok');
    expect(seen.map(([, authorization]) => authorization)).toEqual(['Bearer t0ken', undefined]);
    await store.close();
  });

  it('goes through the proxy that http_proxy names, but for what no_proxy names', async () => {
    const through: string[] = [];
    const proxy = createServer((request, response) => {
      through.push(request.url!);
      response.end('from the proxy');
    });
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
    const url = await serve((_, response) => response.end('direct'));
    for (const name of ['HTTP_PROXY', 'NO_PROXY', 'no_proxy']) vi.stubEnv(name, undefined);
    vi.stubEnv('http_proxy', `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`);
    const far = new HttpStore('http://mirror.invalid/build', { retry: quick });
    expect((await readObject(far, 'x')).bytes.toString()).toBe('from the proxy');
    expect(through).toEqual(['http://mirror.invalid/build/x']);
    vi.stubEnv('no_proxy', '127.0.0.1');
    const near = new HttpStore(url, { retry: quick });
    expect((await readObject(near, 'x')).bytes.toString()).toBe('direct');
    expect(through).toHaveLength(1);
    vi.unstubAllEnvs();
    await far.close();
    await near.close();
    proxy.closeAllConnections();
    proxy.close();
  });

  it('tries again after 500, 503 and a dropped connection', async () => {
    let count = 0;
    const url = await serve((_, response) => {
      count++;
      if (count === 1) response.writeHead(500).end();
      else if (count === 2) response.writeHead(503).end();
      else if (count === 3) response.destroy();
      else response.end('at last');
    });
    const events: StorageEvent[] = [];
    const store = new HttpStore(url, { retry: quick, onEvent: (event) => events.push(event) });
    expect((await readObject(store, 'x')).bytes.toString()).toBe('at last');
    expect(events.map((event) => event.type)).toEqual(['retry', 'retry', 'retry']);
  });

  it('goes on where a transfer broke off', async () => {
    const whole = Buffer.alloc(300_000, 'abcdefghij');
    const ranges: (string | undefined)[] = [];
    const url = await serve((request, response) => {
      ranges.push(request.headers.range);
      const start = Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
      const rest = whole.subarray(start);
      response.writeHead(start ? 206 : 200, { 'content-length': rest.length, etag: '"1"' });
      response.write(rest.subarray(0, 100_000), () => {
        if (rest.length > 100_000) response.destroy();
        else response.end();
      });
    });
    const store = new HttpStore(url, { retry: quick });
    expect((await readObject(store, 'x')).bytes.equals(whole)).toBe(true);
    expect(ranges.length).toBeGreaterThanOrEqual(3);
  });

  it('gives up after some tries and says how many', async () => {
    const url = await serve((_, response) => response.writeHead(503).end());
    await expect(new HttpStore(url, { retry: quick }).head('x')).rejects.toMatchObject({
      code: 'unavailable',
      kind: 'missing',
      message: expect.stringContaining('HTTP 503. Tried 5 times.'),
    });
  });

  it('ends what comes byte by byte, a stall in the middle, and what is never answered', async () => {
    const url = await serve((request, response) => {
      if (request.url === '/silent') return;
      response.writeHead(200, { 'content-length': 1000 }).write('x');
      if (request.url === '/stall') return;
      const timer = setInterval(() => response.write('x'), 5);
      response.on('close', () => clearInterval(timer));
    });
    const limits = { answer: 100, idle: 100, slowest: 10_000 };
    const store = new HttpStore(url, { retry: quick, limits });
    for (const [key, code] of [
      ['silent', 'unavailable'],
      ['stall', 'truncated'],
      ['drip', 'truncated'],
    ]) {
      const error = await readObject(store, key!).catch((one: unknown) => one);
      expect(error).toMatchObject({ name: 'StorageError', code, details: { attempts: 3 } });
      expect(String(error)).toMatch(/within 0\.1 s\. Tried 3 times\.$/);
    }
    await store.close();
  });

  it('says what the server says', async () => {
    const url = await serve((_, response) =>
      response.writeHead(403).end('{"message":"the token has expired"}'),
    );
    await expect(new HttpStore(url, { retry: quick }).get('x')).rejects.toMatchObject({
      code: 'denied',
      message: expect.stringContaining('HTTP 403, the token has expired'),
      hint: expect.stringContaining('token'),
    });
  });

  it('does not try again what cannot get better', async () => {
    let count = 0;
    const url = await serve((_, response) => {
      count++;
      response.writeHead(403).end();
    });
    await expect(new HttpStore(url, { retry: quick }).get('x')).rejects.toMatchObject({ code: 'denied' });
    expect(count).toBe(1);
  });

  it('cuts a range out by itself where the server knows none', async () => {
    const url = await serve((_, response) => response.end('0123456789'));
    const { body, size } = await new HttpStore(url).get('x', { range: { start: 2, end: 4 } });
    expect(Buffer.concat(await body.toArray()).toString()).toBe('234');
    expect(size).toBe(3);
  });

  it.each([
    ['while it waits to try again', { attempts: 5, first: 600_000, longest: 600_000 }],
    ['while the rest of an object does not come', quick],
  ] as const)('stops when its signal fires %s', async (what, retry) => {
    let asked: (() => void) | undefined;
    const once = new Promise<void>((resolve) => (asked = resolve));
    const url = await serve((_, response) => {
      if (retry.first > 1000) response.writeHead(503).end(asked);
      else response.writeHead(200, { 'content-length': 100 }).write('half', asked);
    });
    const controller = new AbortController();
    const store = new HttpStore(url, { retry });
    const reading = readObject(store, 'x', undefined, controller.signal);
    await once;
    await new Promise((resolve) => setTimeout(resolve, 20));
    controller.abort();
    await expect(reading, what).rejects.toMatchObject({ name: 'AbortError' });
    await store.close();
  });

  it('closes while somebody still holds an object that does not come', async () => {
    const url = await serve(
      (_, response) => void response.writeHead(200, { 'content-length': 100 }).write('half'),
    );
    const store = new HttpStore(url, { retry: quick });
    const { body } = await store.get('x');
    await store.close();
    await expect(body.toArray()).rejects.toThrow();
  });

  it('can neither be written nor listed, and says what can', async () => {
    const store = new HttpStore('http://127.0.0.1:9');
    await expect(store.put()).rejects.toMatchObject({
      code: 'unsupported',
      hint: expect.stringContaining('s3://'),
    });
    await expect(store.list()[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: 'unsupported' });
  });
});

describe.skipIf(missing)(`a folder behind nginx (${missing ?? 'nginx on 127.0.0.1'})`, () => {
  it('and a proxy that drops, delays, truncates and answers 500 and 503: 2,000 objects come whole', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'stackwright-http-'));
    const content = (i: number) =>
      Buffer.alloc(i % 100 === 0 ? 400_000 : 1000 + ((i * 977) % 4000), `object ${i} `);
    for (let i = 0; i < 2000; i++) await writeFile(join(folder, String(i)), content(i));
    const nginx = await startNginx({ root: folder });
    const proxy = await startFaultyProxy(nginx.url);
    onTestFinished(async () => {
      await proxy.stop();
      await nginx.stop();
      await rm(folder, { recursive: true });
    });
    const events = new Map<string, number>();
    const store = new HttpStore(proxy.url, {
      retry: { attempts: 12, first: 2, longest: 50 },
      onEvent: ({ type }) => events.set(type, (events.get(type) ?? 0) + 1),
    });
    await inParallel([...Array(2000).keys()], 24, async (i) => {
      const { bytes } = await readObject(store, String(i));
      expect(bytes.equals(content(i))).toBe(true);
      if (i % 10 === 0) expect((await store.head(String(i)))?.size).toBe(content(i).length);
    });
    expect(proxy.faults()).toBeGreaterThan(200);
    expect(events.get('retry')).toBeGreaterThan(50);
    expect(events.get('resume')).toBeGreaterThan(10);
    await store.close();
  }, 120_000);
});
