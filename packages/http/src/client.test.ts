import { once } from 'node:events';
import type { RequestListener } from 'node:http';
import { connect } from 'node:net';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { describe, expect, it, onTestFinished } from 'vitest';
import { HttpClient, type HttpClientOptions, type HttpError } from './index.js';
import { drip, endless, listen, serve, serveTls } from './testing.js';

const retry = { attempts: 5, first: 1, longest: 5 };

function open(options: HttpClientOptions = {}): HttpClient {
  const client = new HttpClient({ env: {}, retry, ...options });
  onTestFinished(() => client.close());
  return client;
}

const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => expect.fail('no error'),
    (error: HttpError) => error,
  );

/** Answers with one status after the other, and with 200 in the end. */
function inTurn(...answers: [status: number, headers?: Record<string, string>][]) {
  const asked: { method: string; body: string }[] = [];
  const listener: RequestListener = async (request, response) => {
    const body = Buffer.concat(await request.toArray()).toString();
    asked.push({ method: request.method!, body });
    const [status, headers] = answers[asked.length - 1] ?? [200];
    response.writeHead(status, headers).end('done');
  };
  return { asked, listener };
}

describe('an answer', () => {
  it('is read whole, with its headers', async () => {
    const url = await serve((request, response) => {
      response.setHeader('x-method', request.method!);
      response.end(`{"path":"${request.url}"}`);
    });
    const answer = await open().request(`${url}/a?b=c`);
    expect(answer.json()).toEqual({ path: '/a?b=c' });
    expect(answer.status).toBe(200);
    expect(answer.header('x-method')).toBe('GET');
  });

  it('of a status that the caller accepts is no error', async () => {
    const url = await serve((_, response) => response.writeHead(404).end('nothing'));
    expect((await open().request(url, { accept: [200, 404] })).text()).toBe('nothing');
    expect((await open().request(url, { accept: 'any' })).status).toBe(404);
  });

  it('to HEAD has no body, whatever length it announces', async () => {
    const url = await serve((_, response) => response.writeHead(200, { 'content-length': 1 << 30 }).end());
    expect((await open().request(url, { method: 'HEAD' })).header('content-length')).toBe(String(1 << 30));
  });

  it('that the server compressed is decompressed, as far as the limit goes', async () => {
    const bomb = gzipSync(Buffer.alloc(10 << 20));
    const url = await serve((request, response) => {
      response.setHeader('content-encoding', 'gzip');
      response.end(request.url === '/bomb' ? bomb : gzipSync('plain'));
    });
    expect((await open().request(url)).text()).toBe('plain');
    const [body] = await (await open().stream(url)).body.toArray();
    expect(String(body)).toBe('plain');
    expect(await failure(open().request(`${url}/bomb`))).toMatchObject({ code: 'too-large' });
  });

  it('that is compressed wrongly, or breaks the protocol, is an error', async () => {
    const url = await serve((_, response) => {
      response.setHeader('content-encoding', 'gzip');
      response.end('plain');
    });
    expect(await failure(open().request(url))).toMatchObject({ name: 'HttpError', code: 'bad-answer' });
    const { body } = await open().stream(url);
    expect(await failure(body.toArray())).toMatchObject({ name: 'HttpError', code: 'bad-answer' });
    const host = await listen((socket) => socket.end('SSH-2.0-OpenSSH\r\n'));
    expect(await failure(open().request(`http://${host}`))).toMatchObject({ code: 'bad-answer' });
  });

  it('that is not JSON is an error that says so, on one line', async () => {
    const url = await serve((_, response) => response.end('<html>\u001b[31m'));
    const answer = await open().request(url);
    expect(() => answer.json()).toThrow(/the answer is not JSON/);
    expect(() => answer.json()).not.toThrow(/\u001b/);
  });
});

describe('an answer without end', () => {
  it('ends at the limit, and its connection too', async () => {
    let closed: Promise<unknown> | undefined;
    let sent = () => 0;
    const url = await serve((_, response) => {
      closed = once(response, 'close');
      sent = endless(response);
    });
    const error = await failure(open().request(url, { limit: 100_000 }));
    expect(error).toMatchObject({ code: 'too-large', kind: 'input' });
    expect(error.message).toContain('larger than 100000 bytes');
    await closed;
    // The limit, and what the sockets of both sides hold.
    expect(sent()).toBeLessThan(20 << 20);
  });

  it('that says how long it is is not read at all', async () => {
    const url = await serve((_, response) => {
      response.writeHead(200, { 'content-length': 2 ** 40 });
      response.flushHeaders();
    });
    expect(await failure(open().request(url))).toMatchObject({ code: 'too-large' });
  });

  it('to an error leaves the error, with its beginning', async () => {
    const url = await serve((_, response) => {
      response.writeHead(400);
      response.write('the quota is exceeded\n');
      endless(response);
    });
    const error = await failure(open().request(url));
    expect(error).toMatchObject({ code: 'status', details: { status: 400 } });
    expect(error.message).toContain('HTTP 400, the quota is exceeded.');
  });
});

describe('time limits', () => {
  const limits = { connect: 200, answer: 200, idle: 200, total: 400 };

  it('end a document that comes byte by byte', async () => {
    const url = await serve((_, response) => drip(response));
    const error = await failure(open({ limits: { ...limits, slowest: 0 } }).request(url, { attempts: 1 }));
    expect(error).toMatchObject({ code: 'timeout', kind: 'missing', details: { transient: true } });
    expect(error.message).toContain('the answer did not come within 0.4 s');
  });

  it('end a stream that comes byte by byte, and one that stops', async () => {
    const url = await serve((request, response) => {
      if (request.url === '/drip') drip(response);
      else response.write('beginning');
    });
    const client = open({ limits: { ...limits, slowest: 10_000 } });
    for (const path of ['/drip', '/stop']) {
      const { body } = await client.stream(url + path);
      expect(await failure(body.toArray())).toMatchObject({ name: 'HttpError', code: 'timeout' });
    }
  });

  it('let a reader take its time', async () => {
    const url = await serve((_, response) => response.end(Buffer.alloc(4 << 20)));
    const { body } = await open({ limits: { ...limits, slowest: 10_000 } }).stream(url);
    let length = 0;
    for await (const chunk of body as AsyncIterable<Buffer>) {
      if (length === 0) await sleep(1000);
      length += chunk.length;
    }
    expect(length).toBe(4 << 20);
  });

  it('end a request that is never answered, after a few attempts', async () => {
    let asked = 0;
    const url = await serve(() => asked++);
    const error = await failure(open({ limits }).request(url));
    expect(error).toMatchObject({ code: 'timeout', details: { attempts: 3, sent: true } });
    expect(error.message).toMatch(/no answer within 0.2 s\. Tried 3 times\.$/);
    expect(asked).toBe(3);
  });

  it('end a connection that never speaks TLS', async () => {
    const host = await listen(() => {});
    const error = await failure(open({ limits }).request(`https://${host}`, { attempts: 1 }));
    expect(error).toMatchObject({ code: 'timeout', details: { sent: false } });
    expect(error.message).toContain('no connection within 0.2 s');
  });

  it('end an upload of which the server takes nothing', async () => {
    const url = await serve((request) => request.pause());
    const content = Readable.from(Array.from({ length: 400 }, () => Buffer.alloc(64 * 1024)));
    const error = await failure(open({ limits }).request(url, { method: 'PUT', body: content }));
    expect(error.message).toContain('the server took nothing of the upload within 0.2 s');
    expect(content.destroyed).toBe(true);
  });

  it('let an upload take as long as it moves, and end the wait for its answer', async () => {
    let length = 0;
    const url = await serve(async (request, response) => {
      for await (const chunk of request) length += (chunk as Buffer).length;
      if (request.url === '/answered') response.end('taken');
    });
    const slow = () =>
      Readable.from(
        (async function* () {
          for (let i = 0; i < 12; i++) {
            await sleep(50);
            yield Buffer.alloc(1000);
          }
        })(),
      );
    const client = open({ limits });
    const put = { method: 'PUT', headers: { 'content-length': '12000' } };
    expect((await client.request(`${url}/answered`, { ...put, body: slow() })).text()).toBe('taken');
    expect(length).toBe(12_000);
    const error = await failure(client.request(url, { ...put, body: slow() }));
    expect(error.message).toContain('no answer after all was sent within 0.2 s');
  });
});

describe('a redirect', () => {
  it('to another server takes no credential along', async () => {
    const seen: unknown[] = [];
    const other = await serve((request, response) => {
      const { authorization, accept, 'private-token': token } = request.headers;
      seen.push({ authorization, accept, token });
      response.end('there');
    });
    const url = await serve((request, response) => {
      const { authorization, accept, 'private-token': token } = request.headers;
      seen.push({ authorization, accept, token });
      const location = request.url === '/' ? '/again' : other.replace('//', '//user:pass@');
      response.writeHead(302, { location }).end();
    });
    const headers = { authorization: 'Bearer s3cret', 'private-token': 's3cret', accept: 'a/b' };
    expect((await open().request(url, { headers })).text()).toBe('there');
    const own = { authorization: 'Bearer s3cret', accept: 'a/b', token: 's3cret' };
    expect(seen).toEqual([own, own, { authorization: undefined, accept: 'a/b', token: undefined }]);
  });

  it.each([
    [302, 'POST', 'GET', ''],
    [303, 'PUT', 'GET', ''],
    [307, 'POST', 'POST', 'content'],
    [308, 'PUT', 'PUT', 'content'],
  ])('%i of a %s asks with %s and "%s"', async (status, method, next, body) => {
    const { asked, listener } = inTurn([status, { location: '/there' }]);
    await open().request(await serve(listener), { method, body: 'content' });
    expect(asked[1]).toMatchObject({ method: next, body });
  });

  it('in a circle is an error', async () => {
    const url = await serve((_, response) => response.writeHead(301, { location: '/' }).end());
    expect(await failure(open().request(url))).toMatchObject({ code: 'too-many-redirects' });
  });

  it('to something that is not HTTP is not followed', async () => {
    const url = await serve((_, response) =>
      response.writeHead(301, { location: 'file:///etc/passwd' }).end(),
    );
    expect(await failure(open().request(url))).toMatchObject({ code: 'status', details: { status: 301 } });
  });
});

describe('another attempt', () => {
  it('is made after statuses that pass, and after dropped connections', async () => {
    let asked = 0;
    const url = await serve((_, response) => {
      asked++;
      if (asked === 1) response.writeHead(503).end();
      else if (asked === 2) response.destroy();
      else if (asked === 3)
        response.writeHead(200, { 'content-length': 9 }).write('half', () => response.destroy());
      else response.end('at last');
    });
    const reasons: string[] = [];
    const onRetry = (_: number, __: number, error: Error) => reasons.push((error as HttpError).code);
    expect((await open().request(url, { onRetry })).text()).toBe('at last');
    expect(reasons).toEqual(['status', 'broken-off', 'broken-off']);
  });

  it.each([
    ['a number of seconds', () => '1'],
    ['a date', () => new Date(Date.now() + 2000).toUTCString()],
  ])('comes when Retry-After asks for it by %s', async (_, retryAfter) => {
    const { asked, listener } = inTurn([429, { 'retry-after': retryAfter() }]);
    const delays: number[] = [];
    await open().request(await serve(listener), { onRetry: (_, delay) => delays.push(delay) });
    expect(asked).toHaveLength(2);
    // A date has whole seconds; the back-off alone is at most 5 ms here.
    expect(delays[0]).toBeGreaterThan(500);
  });

  it('is not made of a request that could do harm twice, unless the server did nothing or the caller allows it', async () => {
    const post = { method: 'POST', json: { a: 1 } };
    const dropped = { count: 0 };
    const dropping = await serve((request) => {
      dropped.count++;
      request.socket.destroy();
    });
    expect(await failure(open().request(dropping, post))).toMatchObject({ code: 'broken-off' });
    expect(dropped.count).toBe(1);
    await failure(open().request(dropping, { ...post, repeatable: true }));
    expect(dropped.count).toBe(6);
    const failing = inTurn([500]);
    expect(await failure(open().request(await serve(failing.listener), post))).toMatchObject({
      code: 'status',
    });
    const busy = inTurn([429], [503]);
    await open().request(await serve(busy.listener), post);
    expect(busy.asked.map(({ body }) => body)).toEqual(Array(3).fill('{"a":1}'));
  });

  it('is made a few times where nothing has ever answered', async () => {
    const delays: number[] = [];
    const onRetry = (_: number, delay: number) => delays.push(delay);
    const error = await failure(open().request('http://127.0.0.1:9', { onRetry }));
    expect(error).toMatchObject({
      code: 'unreachable',
      kind: 'missing',
      details: { attempts: 3, sent: false },
    });
    expect(error.message).toMatch(/cannot be reached: connect ECONNREFUSED 127\.0\.0\.1:9\. Tried 3 times\./);
    expect(delays).toHaveLength(2);
  });

  it('is not made of what the next time gives too', async () => {
    const { asked, listener } = inTurn([404]);
    await failure(open().request(await serve(listener)));
    expect(asked).toHaveLength(1);
    expect(await failure(open().request('http://nowhere.invalid'))).toMatchObject({
      code: 'unreachable',
      details: { transient: false },
    });
  });
});

describe('the error', () => {
  it.each([
    ['{"errors":[{"code":"DENIED","message":"quota exceeded"}]}', 'DENIED quota exceeded'],
    ['{"message":"Bad credentials"}', 'Bad credentials'],
    ['{"message":{"name":["is too long"]}}', '{"name":["is too long"]}'],
    ['{"error":"invalid_scope","error_description":"no such scope"}', 'no such scope'],
    ['<?xml version="1.0"?><Error><Message>No such key</Message></Error>', 'No such key'],
    ['\n  first line\nsecond line', 'first line'],
    ['<!DOCTYPE html><html><body>Oops</body></html>', 'Forbidden'],
    ['', 'Forbidden'],
    ['\u001b]0;title\u0007red\u202e', '\ufffd]0;title\ufffdred\ufffd'],
  ])('says what the server says in %j', async (body, said) => {
    const url = await serve((_, response) => response.writeHead(403).end(body));
    const error = await failure(open().request(url));
    expect(error).toMatchObject({ code: 'denied', kind: 'missing', details: { status: 403 } });
    expect(error.message).toBe(`GET ${url}: HTTP 403, ${said}.`);
  });

  it('is short however much the server says', async () => {
    const url = await serve((_, response) => response.writeHead(400).end('x'.repeat(10_000)));
    expect((await failure(open().request(url))).message.length).toBeLessThan(400);
  });

  it('shows no credential', async () => {
    const authorizations: unknown[] = [];
    const url = await serve((request, response) => {
      authorizations.push(request.headers.authorization);
      response.writeHead(400).end(`bad token ${request.headers['private-token']}`);
    });
    const error = await failure(
      open().request(`${url.replace('//', '//me:pa%20ss@')}/x?token=s3cret#s3cret`, {
        headers: { 'private-token': 'glpat-s3cret' },
      }),
    );
    expect(authorizations).toEqual([`Basic ${btoa('me:pa ss')}`]);
    expect(error.message).toBe(`GET ${url}/x?…: HTTP 400, bad token ***.`);
    expect(JSON.stringify(error)).not.toMatch(/s3cret|pa%20ss|pa ss/);
    const invalid = await failure(open().request('http://me:s3cret@:x'));
    expect(invalid).toMatchObject({ code: 'invalid', kind: 'input' });
    expect(`${invalid.message}${JSON.stringify(invalid)}`).not.toContain('s3cret');
  });

  it('is the signal’s own once it fires: before, while it waits for an answer, for the body or to try again', async () => {
    const url = await serve((request, response) => {
      if (request.url === '/body') response.write('beginning');
      if (request.url === '/busy') response.writeHead(503, { 'retry-after': '60' }).end();
    });
    for (const path of ['/silent', '/body', '/busy']) {
      const controller = new AbortController();
      const asking = open().request(url + path, { signal: controller.signal });
      setTimeout(() => controller.abort(), 50);
      expect(await failure(asking)).toMatchObject({ name: 'AbortError' });
    }
    expect(await failure(open().request(url, { signal: AbortSignal.abort() }))).toMatchObject({
      name: 'AbortError',
    });
    const controller = new AbortController();
    const { body } = await open().stream(`${url}/body`, { signal: controller.signal });
    controller.abort();
    expect(await failure(body.toArray())).toMatchObject({ name: 'AbortError' });
  });

  it('of the content is told as it is', async () => {
    const url = await serve((request, response) => request.resume().on('end', () => response.end()));
    const broken = Readable.from(
      (async function* () {
        yield Buffer.alloc(10);
        throw new Error('the disk is gone');
      })(),
    );
    const error = await failure(open().request(url, { method: 'PUT', body: broken }));
    expect(error.message).toBe('the disk is gone');
  });
});

describe('a proxy', () => {
  it('gets plain HTTP as a whole URL and tunnels the rest, but for what no_proxy names', async () => {
    const { url: secure, authority } = await serveTls((_, response) => response.end('through the tunnel'));
    const asked: string[] = [];
    const host = await listen((socket) => {
      socket.once('data', (data) => {
        const [line = ''] = data.toString().split('\r\n');
        asked.push(line);
        if (!line.startsWith('CONNECT')) {
          return socket.end('HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\nfrom the proxy');
        }
        socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
        const { port, hostname } = new URL(secure);
        const target = connect(Number(port), hostname);
        target.on('error', () => socket.destroy());
        socket.pipe(target).pipe(socket);
      });
    });
    const direct = await serve((_, response) => response.end('direct'));
    const proxy = host;
    const client = open({
      env: {
        HTTP_PROXY: proxy,
        https_proxy: `http://${proxy}`,
        SSL_CERT_FILE: authority,
        NO_PROXY: new URL(direct).host,
      },
    });
    expect((await client.request('http://mirror.invalid/x')).text()).toBe('from the proxy');
    expect((await client.request(direct)).text()).toBe('direct');
    expect((await client.request(secure)).text()).toBe('through the tunnel');
    expect(asked).toEqual([
      'GET http://mirror.invalid/x HTTP/1.1',
      `CONNECT ${new URL(secure).host} HTTP/1.1`,
    ]);
  });

  it('that refuses is told', async () => {
    const url = await serve((_, response) => response.writeHead(407).end());
    const proxy = await listen((socket) => {
      socket.once('data', () => socket.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n'));
    });
    const plain = await failure(open({ env: { http_proxy: url } }).request('http://mirror.invalid/x'));
    expect(plain.message).toContain('407');
    const client = open({ env: { https_proxy: `http://me:s3cret@${proxy}` } });
    const tunnel = await failure(client.request('https://mirror.invalid/x'));
    expect(tunnel).toMatchObject({ code: 'unreachable', details: { transient: false } });
    expect(tunnel.message).toContain('407');
    expect(tunnel.message).not.toContain('s3cret');
  });

  it('that is no URL is an error', () => {
    expect(() => new HttpClient({ env: { http_proxy: 'http://' } })).toThrow(/http_proxy is not the URL/);
  });
});

describe('a certificate of an own authority', () => {
  it('is accepted when SSL_CERT_FILE or NODE_EXTRA_CA_CERTS names the authority, and refused with a hint else', async () => {
    const { url, authority } = await serveTls((_, response) => response.end('safe'));
    for (const name of ['SSL_CERT_FILE', 'NODE_EXTRA_CA_CERTS']) {
      expect((await open({ env: { [name]: authority } }).request(url)).text()).toBe('safe');
    }
    const refused = await failure(open().request(url));
    expect(refused).toMatchObject({ code: 'unreachable', kind: 'missing', details: { transient: false } });
    expect(refused.hint).toContain('SSL_CERT_FILE');
    expect((await open({ verify: false }).request(url)).text()).toBe('safe');
  });

  it('needs a file that can be read', () => {
    const env = { SSL_CERT_FILE: '/nowhere/ca.pem' };
    expect(() => new HttpClient({ env })).toThrow(
      'SSL_CERT_FILE names /nowhere/ca.pem, which cannot be read.',
    );
  });

  it('is not looked for at a server without TLS', async () => {
    const url = await serve((_, response) => response.end());
    const error = await failure(open().request(url.replace('http', 'https')));
    expect(error.message).toContain('it does not speak TLS');
    expect(error.hint).toContain(url);
  });
});

describe('closing', () => {
  it('ends what is still under way', async () => {
    const url = await serve((_, response) => response.write('beginning'));
    const client = new HttpClient({ env: {}, retry });
    const { body } = await client.stream(url);
    await client.close();
    await expect(body.toArray()).rejects.toMatchObject({ name: 'HttpError', code: 'broken-off' });
  });
});
