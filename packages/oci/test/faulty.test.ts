import { createHash } from 'node:crypto';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { has, inParallel, startFaultyProxy, startRegistry } from '@stackwright/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { digestOf, mediaTypes, OciError, RegistryRepository, readAll } from '../src/index.js';
import { uploadPatience } from '../src/registry.js';

const reason = has('docker-registry')
  ? ''
  : ' (skipped: needs docker-registry; apt-get install docker-registry)';

/** Bytes that are always the same for a number, from a few to some hundred thousand. */
function content(number: number): Buffer {
  const seed = createHash('sha256').update(String(number)).digest();
  return Buffer.concat(Array.from({ length: number % 50 === 0 ? 8000 : 1 + (number % 9) }, () => seed));
}

describe.skipIf(reason !== '')(`a registry behind a faulty proxy${reason}`, { timeout: 300_000 }, () => {
  it('gets 2,000 objects whole and gives them back, whatever is dropped, delayed, cut off or answered with 500 and 503', async () => {
    const registry = await startRegistry();
    const proxy = await startFaultyProxy(`http://${registry.host}`);
    try {
      const faulty = new RegistryRepository(new URL(proxy.url).host, 'faulty');
      const blobs = Array.from({ length: 1900 }, (_, number) => {
        const bytes = content(number);
        return { bytes, mediaType: mediaTypes.layerGzip, digest: digestOf(bytes), size: bytes.length };
      });
      const put = (one: (typeof blobs)[number]) => faulty.putBlob(one, () => Readable.from([one.bytes]));
      await inParallel(blobs, 16, async (blob) => void (await put(blob)));
      const numbers = Array.from({ length: 100 }, (_, number) => number);
      const manifest = (number: number) => {
        const { bytes, ...layer } = blobs[number]!;
        return Buffer.from(
          JSON.stringify({
            schemaVersion: 2,
            mediaType: mediaTypes.manifest,
            config: layer,
            layers: [layer],
          }),
        );
      };
      await inParallel(
        numbers,
        16,
        async (number) =>
          void (await faulty.putManifest(`tag-${number}`, manifest(number), mediaTypes.manifest)),
      );
      expect(proxy.faults()).toBeGreaterThan(500);

      await inParallel(blobs, 16, async (blob) => {
        const { bytes, ...descriptor } = blob;
        expect(bytes.equals(await readAll(await faulty.blob(descriptor)))).toBe(true);
      });
      await inParallel(numbers, 16, async (number) => {
        expect((await faulty.manifest(`tag-${number}`))?.bytes.equals(manifest(number))).toBe(true);
      });
      const tags: string[] = [];
      for await (const tag of faulty.tags()) tags.push(tag);
      expect(tags.sort()).toEqual(numbers.map((number) => `tag-${number}`).sort());

      // The registry itself, without the proxy, has nothing but what was sent, and all of it.
      const direct = new RegistryRepository(registry.host, 'faulty');
      await inParallel(blobs, 16, async (blob) => {
        const { bytes, ...descriptor } = blob;
        expect((await readAll(await direct.blob(descriptor))).length).toBe(bytes.length);
      });
    } finally {
      await proxy.stop();
      await registry.stop();
    }
  });
});

describe('a registry that does not do what it should', () => {
  let server: Server;
  afterEach(() => {
    server.closeAllConnections();
    server.close();
  });
  const serve = async (listener: RequestListener, attempts = 3) => {
    server = createServer(listener);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    return new RegistryRepository(host, 'x', { attempts });
  };
  const bytes = content(50);
  const descriptor = { mediaType: mediaTypes.layerGzip, digest: digestOf(bytes), size: bytes.length };

  it.each([
    ['takes up a download where it broke off', true],
    ['reads again from the start what a server without ranges breaks off', false],
  ])('%s', async (_name, ranges) => {
    const asked: (string | undefined)[] = [];
    const repository = await serve((request, response) => {
      const { range } = request.headers;
      asked.push(range);
      const from = ranges ? Number(/\d+/.exec(range ?? '0')![0]) : 0;
      response.writeHead(from > 0 ? 206 : 200, { 'content-length': bytes.length - from });
      if (asked.length === 3) response.end(bytes.subarray(from));
      else response.write(bytes.subarray(from, from + 1000 * asked.length), () => request.socket.destroy());
    });
    expect(bytes.equals(await readAll(await repository.blob(descriptor)))).toBe(true);
    expect(asked).toHaveLength(3);
    expect(asked[1]).toMatch(/^bytes=[1-9]\d*-$/);
  });

  it('is given up after few attempts when it never answers an upload, and the error says so', async () => {
    let uploads = 0;
    const listener: RequestListener = (request, response) => {
      if (request.method === 'HEAD') return response.writeHead(404).end();
      if (request.method === 'POST')
        return response.writeHead(202, { location: '/v2/x/blobs/uploads/1' }).end();
      uploads += 1;
      request.resume();
    };
    await serve(listener);
    const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    const repository = new RegistryRepository(host, 'x', { limits: { answer: 50 } });
    await expect(repository.putBlob(descriptor, () => Readable.from([bytes]))).rejects.toMatchObject({
      code: 'unavailable',
      kind: 'missing',
      message: expect.stringMatching(/could not upload sha256:.*Tried 3 times/),
    });
    expect(uploads).toBe(3);
    // With the limits that it has by itself, less than a minute; a large blob has more time for each attempt.
    expect(uploads * uploadPatience(descriptor.size)).toBeLessThan(60_000);
    expect(uploadPatience(1e9)).toBeGreaterThan(60_000);
  });

  it('is not sent a blob again that arrived while its answer was waited for', async () => {
    let uploads = 0;
    await serve((request, response) => {
      request.resume();
      if (request.method === 'HEAD') return response.writeHead(uploads > 0 ? 200 : 404).end();
      if (request.method === 'POST')
        return response.writeHead(202, { location: '/v2/x/blobs/uploads/1' }).end();
      uploads += 1;
    });
    const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    const repository = new RegistryRepository(host, 'x', { limits: { answer: 50 } });
    expect(await repository.putBlob(descriptor, () => Readable.from([bytes]))).toBe(true);
    expect(uploads).toBe(1);
  });

  it.each([401, 403])('says in its own words why it refuses an upload with %i', async (status) => {
    const repository = await serve((_, response) => {
      const errors = [{ code: 'DENIED', message: 'quota of the project exceeded' }];
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify({ errors }));
    });
    await expect(
      repository.putManifest('latest', Buffer.from('{}'), mediaTypes.manifest),
    ).rejects.toMatchObject({
      code: 'denied',
      message: expect.stringContaining('quota of the project exceeded'),
    });
  });

  it('is given up after some attempts, and the error says so', async () => {
    let asked = 0;
    const repository = await serve((request, response) => {
      asked += 1;
      response.writeHead(200, { 'content-length': bytes.length });
      response.write(bytes.subarray(0, 0), () => request.socket.destroy());
    });
    await expect(repository.blob(descriptor).then(readAll)).rejects.toThrow(OciError);
    expect(asked).toBe(3);
  });

  it('is not asked again for a blob of another length', async () => {
    let asked = 0;
    const repository = await serve((_request, response) => {
      asked += 1;
      response.end(bytes.subarray(10));
    });
    await expect(repository.blob(descriptor).then(readAll)).rejects.toThrow(/has \d+ bytes instead of/);
    expect(asked).toBe(1);
  });

  it('is asked again when it wants so, and what it says last is told', async () => {
    let asked = 0;
    const repository = await serve((_request, response) => {
      asked += 1;
      const retryAfter = asked === 1 ? '0' : new Date().toUTCString();
      response.writeHead(429, { 'retry-after': retryAfter }).end('{"errors":[{"code":"TOOMANYREQUESTS"}]}');
    });
    await expect(repository.manifest('latest')).rejects.toThrow(/429 TOOMANYREQUESTS\. Tried 3 times\./);
    expect(asked).toBe(3);
  });

  it('gets an upload anew whose session it has lost', async () => {
    let sessions = 0;
    const repository = await serve((request, response) => {
      request.resume().on('end', () => {
        if (request.method === 'HEAD') response.writeHead(404).end();
        else if (request.method === 'POST')
          response.writeHead(202, { location: `/upload/${++sessions}` }).end();
        else
          response.writeHead(sessions === 1 ? 404 : 201).end('{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}');
      });
    });
    expect(await repository.putBlob(descriptor, () => Readable.from([bytes]))).toBe(true);
    expect(sessions).toBe(2);
  });

  it('gets the bytes where it does not mount them from another repository', async () => {
    const asked: string[] = [];
    const repository = await serve((request, response) => {
      asked.push(`${request.method} ${request.url}`);
      request.resume().on('end', () => {
        if (request.method === 'HEAD') response.writeHead(404).end();
        else if (request.url?.includes('mount')) response.writeHead(403).end();
        else if (request.method === 'POST') response.writeHead(202, { location: '/upload/1' }).end();
        else response.writeHead(201).end();
      });
    });
    expect(await repository.putBlob(descriptor, () => Readable.from([bytes]), { from: 'secret' })).toBe(true);
    expect(asked.map((one) => one.split('?')[0])).toEqual([
      `HEAD /v2/x/blobs/${descriptor.digest}`,
      'POST /v2/x/blobs/uploads/',
      'POST /v2/x/blobs/uploads/',
      'PUT /upload/1',
    ]);
  });

  it('ends an upload whose content cannot be read, and says why', async () => {
    let sessions = 0;
    const repository = await serve((request, response) => {
      request.resume();
      if (request.method === 'HEAD') response.writeHead(404).end();
      else if (request.method === 'POST')
        response.writeHead(202, { location: `/upload/${++sessions}` }).end();
    });
    const broken = async function* () {
      yield bytes.subarray(0, 10);
      throw new Error('the disk is gone');
    };
    await expect(repository.putBlob(descriptor, () => Readable.from(broken()))).rejects.toThrow(
      'the disk is gone',
    );
    expect(sessions).toBe(1);
  });

  it('asks for a token once, however many requests want to be let in', async () => {
    let tokens = 0;
    const repository = await serve((request, response) => {
      if (request.url?.startsWith('/token')) {
        tokens += 1;
        setTimeout(() => response.end('{"token":"secret"}'), 20);
      } else if (request.headers.authorization === 'Bearer secret') response.writeHead(404).end();
      else {
        const challenge = `Bearer realm="http://${request.headers.host}/token",service="x"`;
        response.writeHead(401, { 'www-authenticate': challenge }).end();
      }
    });
    await Promise.all(Array.from({ length: 20 }, (_, number) => repository.manifest(`tag-${number}`)));
    expect(tokens).toBe(1);
  });
});
