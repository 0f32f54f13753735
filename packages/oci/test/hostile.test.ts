import { once } from 'node:events';
import { createServer, type RequestListener, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { describe, expect, it, onTestFinished } from 'vitest';
import { digestOf, mediaTypes, OciError, RegistryRepository, readAll, readImage } from '../src/index.js';

const bytes = Buffer.alloc(200_000, 'content');
const descriptor = { mediaType: mediaTypes.layerGzip, digest: digestOf(bytes), size: bytes.length };

async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const repositoryOf = async (listener: RequestListener) =>
  new RegistryRepository(await serve(listener), 'x', {
    attempts: 4,
    credentials: async () => ({ username: 'robot', password: 's3cret' }),
    limits: { answer: 200, idle: 200, total: 400 },
  });

const failure = (promise: Promise<unknown>): Promise<OciError> =>
  promise.then(
    () => expect.fail('no error'),
    (error) => {
      expect(error).toBeInstanceOf(OciError);
      return error;
    },
  );

/** Sends without an end, as fast as it is taken. */
function endless(response: ServerResponse): void {
  const chunk = Buffer.alloc(64 * 1024, '[');
  const more = () => {
    while (!response.destroyed && response.write(chunk));
  };
  response.on('drain', more);
  more();
}

describe('an answer without end', () => {
  it('as a manifest ends at 4 MiB, and its connection too', async () => {
    let closed: Promise<unknown> | undefined;
    const repository = await repositoryOf((_, response) => {
      closed = once(response, 'close');
      endless(response);
    });
    const error = await failure(repository.manifest('latest'));
    expect(error).toMatchObject({ code: 'too-large', kind: 'input' });
    expect(error.message).toMatch(
      /could not read the manifest latest: the answer is larger than 4194304 bytes/,
    );
    await closed;
  });

  it('as the body of an error leaves the error', async () => {
    const repository = await repositoryOf((_, response) => {
      response.writeHead(400);
      endless(response);
    });
    const error = await failure(repository.manifest('latest'));
    expect(error).toMatchObject({ code: 'refused', kind: 'input', details: { status: 400 } });
    expect(error.message.length).toBeLessThan(500);
  });

  it('of a token server ends', async () => {
    const repository = await repositoryOf((request, response) => {
      if (request.url?.startsWith('/token')) return endless(response);
      const realm = `http://${request.headers.host}/token`;
      response.writeHead(401, { 'www-authenticate': `Bearer realm="${realm}"` }).end();
    });
    const error = await failure(repository.manifest('latest'));
    expect(error).toMatchObject({ code: 'too-large' });
    expect(error.message).toMatch(/could not ask for a token: the answer is larger than/);
  });

  it('as a page of tags ends', async () => {
    const repository = await repositoryOf((_, response) => endless(response));
    expect(await failure(repository.tags().next())).toMatchObject({ code: 'too-large' });
  });

  it('as the configuration of an image ends, whatever size the manifest gives it', async () => {
    const config = { mediaType: mediaTypes.config, digest: descriptor.digest, size: 2 ** 40 };
    const repository = await repositoryOf((request, response) => {
      if (request.url?.includes('/blobs/')) return endless(response);
      response.end(JSON.stringify({ schemaVersion: 2, config, layers: [] }));
    });
    expect(await failure(readImage(repository, 'latest'))).toMatchObject({ code: 'too-large' });
  });

  it.each([
    ['the page itself', (_: number) => '/v2/x/tags/list?n=1000'],
    ['a page before', (page: number) => `/v2/x/tags/list?page=${(page + 1) % 3}`],
  ])('as pages of tags whose next is %s', async (_, next) => {
    let asked = 0;
    const repository = await repositoryOf((request, response) => {
      asked += 1;
      const page = Number(new URL(request.url!, 'http://x').searchParams.get('page') ?? 0);
      response.writeHead(200, { link: `<${next(page)}>; rel="next"` }).end('{"tags":["a"]}');
    });
    const error = await failure(collected(repository.tags()));
    expect(error).toMatchObject({ code: 'malformed' });
    expect(error.message).toContain('lead in a circle');
    expect(asked).toBeLessThan(5);
  });
});

async function collected(tags: AsyncIterable<string>): Promise<string[]> {
  const all: string[] = [];
  for await (const tag of tags) all.push(tag);
  return all;
}

describe('a registry that is too slow', () => {
  it('with a manifest, byte by byte, is given up after a few attempts', async () => {
    let asked = 0;
    const repository = await repositoryOf((_, response) => {
      asked += 1;
      const timer = setInterval(() => response.write(' '), 5);
      response.on('close', () => clearInterval(timer));
    });
    const error = await failure(repository.manifest('latest'));
    expect(error).toMatchObject({ code: 'unavailable', kind: 'missing', details: { attempts: 3 } });
    expect(error.message).toMatch(/the answer did not come within 0\.\d s\. Tried 3 times\.$/);
    expect(asked).toBe(3);
  });

  it('with a blob, byte by byte, is given up though each attempt brings something', async () => {
    const repository = await repositoryOf((request, response) => {
      const from = Number(/\d+/.exec(request.headers.range ?? '0')?.[0]);
      response.writeHead(from ? 206 : 200, { 'content-length': bytes.length - from });
      response.write(bytes.subarray(from, from + 1), () => setTimeout(() => request.socket.destroy(), 5));
    });
    const error = await failure(repository.blob(descriptor).then((stream) => readAll(stream)));
    expect(error).toMatchObject({ code: 'unavailable', details: { attempts: 4 } });
    expect(error.message).toContain(`the blob ${descriptor.digest} broke off`);
  });

  it('to answer an upload is told so', async () => {
    let puts = 0;
    const repository = await repositoryOf((request, response) => {
      request.resume();
      if (request.method === 'HEAD') response.writeHead(404).end();
      else if (request.method === 'POST') response.writeHead(202, { location: '/upload' }).end();
      else puts += 1;
    });
    const error = await failure(repository.putBlob(descriptor, () => Readable.from([bytes])));
    expect(error).toMatchObject({ code: 'unavailable', kind: 'missing', details: { attempts: 3 } });
    expect(error.message).toContain(
      `could not upload ${descriptor.digest}: no answer after all was sent within 0.2 s. Tried 3 times.`,
    );
    expect(puts).toBe(3);
  });
});

describe('what the registry says', () => {
  const quota = '{"errors":[{"code":"DENIED","message":"quota exceeded"}]}';

  it.each([401, 403])('is in the error of a %i', async (status) => {
    const repository = await repositoryOf((_, response) => response.writeHead(status).end(quota));
    const error = await failure(repository.manifest('latest'));
    expect(error).toMatchObject({ code: 'denied', kind: 'missing', details: { status } });
    expect(error.message).toContain(`(${status}): DENIED quota exceeded.`);
    expect(error.hint).toContain('docker login');
  });

  it('of credentials that it refuses is in the error, the credentials are not', async () => {
    const asked: unknown[] = [];
    const repository = await repositoryOf((request, response) => {
      asked.push(request.headers.authorization);
      const said = `{"errors":[{"message":"no such user as ${request.headers.authorization}"}]}`;
      response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end(said);
    });
    const error = await failure(repository.manifest('latest'));
    expect(asked).toEqual([undefined, `Basic ${btoa('robot:s3cret')}`]);
    expect(error.message).toMatch(/refused the credentials \(401\): no such user as/);
    expect(error.message).not.toContain(btoa('robot:s3cret'));
  });
});

describe('the credentials', () => {
  it('are not shown to the storage that the registry redirects to', async () => {
    let shown: string | undefined = 'not asked';
    const storage = await serve((request, response) => {
      shown = request.headers.authorization;
      response.end(bytes);
    });
    const repository = await repositoryOf((request, response) => {
      if (request.headers.authorization)
        response.writeHead(307, { location: `http://${storage}/blob` }).end();
      else response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
    });
    expect((await readAll(await repository.blob(descriptor))).equals(bytes)).toBe(true);
    expect(shown).toBeUndefined();
  });
});
