import { afterEach, describe, expect, it } from 'vitest';
import { CdashClient, cdashFiles } from './index.js';
import { report, startServer } from './testing.js';

let server: Awaited<ReturnType<typeof startServer>>;
afterEach(() => server?.close());
const files = cdashFiles(report());
const { build } = report();
const client = (over: { token?: string; url?: string } = {}) =>
  new CdashClient({ url: server.url, token: 's3cret', attempts: 4, firstDelay: 1, ...over });
const ok = (id: number | '', message = '') =>
  `<cdash version="5.3.0"><message>${message}</message><status>OK</status>${id && `<buildId>${id}</buildId>`}</cdash>`;

describe('submitting', () => {
  it('puts every file with its identity and checksum, and Done last', async () => {
    server = await startServer();
    expect(await client().submit(build, files)).toEqual({
      buildId: 7,
      link: `${server.url}/builds/7`,
      warnings: [],
    });
    expect(server.kinds()).toEqual(['Update', 'Configure', 'Build', 'Done']);
    for (const { method, url, headers } of server.requests) {
      expect(method).toBe('PUT');
      expect(url.pathname).toBe('/submit.php');
      expect(Object.fromEntries(url.searchParams)).toMatchObject({
        project: 'Stacks',
        build: 'zlib@1.3.1 %gcc hash=abcdef (its)',
        site: 'Big & small <site>',
        stamp: '20261123-2300-Nightly',
      });
      expect(headers).toMatchObject({ authorization: 'Bearer s3cret', 'content-type': 'text/xml' });
      expect(headers['content-length']).toBeDefined();
    }
    expect(server.requests.at(-1)!.body).toContain('<buildId>7</buildId>');
  });

  it('is told what CDash thinks of a file', async () => {
    server = await startServer((_, at) =>
      at === 2 ? { body: ok(7, 'XML validation failed: x') } : undefined,
    );
    const { warnings } = await client().submit(build, files);
    expect(warnings).toEqual(['Configure.xml: XML validation failed: x']);
  });

  it('tries again while CDash is away, and says so in the end', async () => {
    server = await startServer((_, at) => (at < 3 ? { status: 503, body: '<html>' } : undefined));
    await client().submit(build, files);
    expect(server.kinds()).toEqual(['Update', 'Update', 'Update', 'Configure', 'Build', 'Done']);
    await server.close();
    await expect(client().submit(build, files)).rejects.toMatchObject({
      code: 'unavailable',
      kind: 'missing',
    });
  });

  it('sends a build anew when nobody knows whether a file that counts twice has arrived', async () => {
    server = await startServer((_, at) => (at === 3 ? 'drop' : undefined));
    const { buildId } = await client().submit(build, files);
    expect(server.kinds()).toEqual([
      ...['Update', 'Configure', 'Build', 'Done'],
      ...['Update', 'Configure', 'Build', 'Done'],
    ]);
    // The id of the build that replaced the first one.
    expect(buildId).toBe(8);
  });

  it('just repeats a file that may come twice', async () => {
    server = await startServer((_, at) => (at === 2 ? 'drop' : undefined));
    await client().submit(build, files);
    expect(server.kinds()).toEqual(['Update', 'Configure', 'Configure', 'Build', 'Done']);
  });

  it('gives up when it never comes to an end', async () => {
    server = await startServer(({ body }) => (body.includes('<Build>') ? 'drop' : undefined));
    await expect(client().submit(build, files)).rejects.toMatchObject({ code: 'unknown-outcome' });
    expect(server.kinds().filter((kind) => kind === 'Build')).toHaveLength(3);
  });

  it.each([
    [{ status: 403, body: '{"status":1,"description":"Invalid Token"}' }, 'denied', 'CDASH_AUTH_TOKEN'],
    [
      { status: 404, body: '{"description":"The requested project does not exist."}' },
      'no-project',
      'cdash:project',
    ],
    [{ status: 400, body: '{"description":"md5 mismatch."}' }, 'refused', 'again'],
    [{ status: 500, body: '<html>Whoops</html>' }, 'refused', ''],
    [{ status: 200, body: ok('') }, 'refused', 'too long'],
    [{ status: 200, body: '<html>Log in</html>' }, 'refused', ''],
  ])('refused with %j is an error', async (answer, code) => {
    server = await startServer(() => answer);
    const error = await client()
      .submit(build, files)
      .catch((one: unknown) => one);
    expect(error).toMatchObject({ name: 'CdashError', code });
    expect(String(error)).not.toContain('s3cret');
    expect(server.requests).toHaveLength(1);
  });

  it('is given up when CDash hangs: a file that may come twice after three attempts, another one is unknown', async () => {
    server = await startServer((_, at) => (at > 2 ? 'hang' : undefined));
    const impatient = new CdashClient({ url: server.url, attempts: 4, firstDelay: 1, timeout: 100 });
    // Build hangs, then Done of the build that it may be in.
    const error: unknown = await impatient.submit(build, files).catch((one: unknown) => one);
    expect(error).toMatchObject({ code: 'unavailable', kind: 'missing' });
    expect(String(error)).toMatch(
      /Could not send Done\.xml of zlib.*: no answer after all was sent within 0\.1 s\. Tried 3 times\.$/,
    );
    expect(server.kinds()).toEqual(['Update', 'Configure', 'Build', 'Done', 'Done', 'Done']);
  });

  it.each(['endless', 'drip'] as const)('ends when the answer is an %s one', async (kind) => {
    server = await startServer(() => kind);
    const impatient = new CdashClient({ url: server.url, attempts: 2, firstDelay: 1, timeout: 200 });
    const error: unknown = await impatient.submit(build, files).catch((one: unknown) => one);
    expect(error).toMatchObject({ code: kind === 'drip' ? 'unavailable' : 'invalid' });
    expect(String(error)).toMatch(
      kind === 'drip' ? /did not come within 0\.2 s/ : /larger than 1048576 bytes/,
    );
  });

  it('stops when told to', async () => {
    server = await startServer(() => ({ status: 503 }));
    const stop = new AbortController();
    const done = client().submit(build, files, { signal: stop.signal });
    stop.abort();
    await expect(done).rejects.toMatchObject({ name: 'AbortError' });
  });
});

describe('sending that breaks', () => {
  const all = cdashFiles(
    report({
      tests: [
        { name: 'a', status: 'passed' },
        { name: 'b', status: 'failed' },
      ],
      attachments: [{ name: 'log.txt', content: Buffer.from('log') }],
    }),
  );
  const right = { errors: 2, warnings: 1, tests: 2, files: 1, complete: true };
  const kinds = [...all.map(({ kind }) => kind), 'Done'];

  for (const cut of ['drop', 'lose'] as const) {
    it.each(kinds.map((kind, at) => [at + 1, kind] as const))(
      `at request %i (%s, ${cut}) leaves the right totals`,
      async (at) => {
        server = await startServer((_, number) => (number === at ? cut : undefined));
        await client().submit(build, all);
        expect(server.totals()).toEqual(right);
      },
    );

    it.each(kinds.map((kind, at) => [at + 1, kind] as const))(
      `at request %i (%s, ${cut}) by a program that ends there is made good by the next one`,
      async (at) => {
        server = await startServer((_, number) => (number === at ? cut : undefined));
        const once = new CdashClient({ url: server.url, attempts: 1, firstDelay: 1 });
        const stop = new AbortController();
        // Whatever it does after the cut does not reach the server.
        const first = once.submit(build, all, { signal: stop.signal }).catch(() => {});
        while (server.requests.length < at) await new Promise((resolve) => setTimeout(resolve, 1));
        stop.abort();
        await first;
        await client().submit(build, all, { again: true });
        expect(server.totals()).toEqual(right);
      },
    );
  }

  it.each([1, 2, 3, 4])('at request %i of replacing a complete build leaves the right totals', async (at) => {
    server = await startServer((_, number) => (number === kinds.length + at ? 'lose' : undefined));
    await client().submit(build, all);
    await client().submit(build, all, { again: true });
    expect(server.totals()).toEqual(right);
  });
});

describe('an address', () => {
  it.each([
    ['https://cdash.example.org', 'https://cdash.example.org'],
    ['cdash.example.org/', 'https://cdash.example.org'],
    ['http://h/CDash/submit.php?project=X', 'http://h/CDash'],
    ['https://u@h/a/', 'https://h/a'],
  ])('%s is %s', (url, base) => {
    expect(new CdashClient({ url }).base).toBe(base);
  });

  it.each(['', 'ftp://h', 'http://'])('"%s" is none', (url) => {
    expect(() => new CdashClient({ url })).toThrow('no address of a CDash');
  });
});

describe('a build group', () => {
  it('is created, or was there', async () => {
    server = await startServer(() => ({ status: 201, body: '{"id":10}' }));
    await client().createGroup('Stacks', 'Nightly');
    const [request] = server.requests;
    expect(request!.url.pathname).toBe('/api/v1/buildgroup.php');
    expect(JSON.parse(request!.body)).toEqual({ project: 'Stacks', newbuildgroup: 'Nightly', type: 'Daily' });
  });

  it('needs a token that may create it', async () => {
    server = await startServer(() => ({ status: 401, body: '{"requirelogin":1}' }));
    await expect(client().createGroup('Stacks', 'Nightly')).rejects.toMatchObject({
      code: 'denied',
      hint: expect.stringContaining('administrator'),
    });
  });

  it('cannot have a name that CDash garbles', async () => {
    server = await startServer();
    await expect(client().createGroup('Stacks', 'a & b')).rejects.toMatchObject({ code: 'invalid' });
    expect(server.requests).toEqual([]);
  });
});
