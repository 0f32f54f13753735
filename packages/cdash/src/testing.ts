import { createHash } from 'node:crypto';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { readBuildLog } from './log.js';
import type { PackageReport } from './report.js';

export const log = `==> zlib: Executing phase: 'configure'
==> [2026-11-23-20:19:24.820223] './configure' '--prefix=/opt/zlib'
checking for error: no
configure: \u001b[33mWARNING: no zstd\u001b[0m
==> zlib: Executing phase: 'build'
==> [2026-11-23-20:19:30.820223] '/usr/bin/make' '-j2'
cc -Werror -c a.c
a.c:3:2: warning: x < y && "z" [-Wcompare]
src/b.c:12:7: error: 'w' undeclared
make: *** [Makefile:7: b.o] Error 1
`;

export function report(over: Partial<PackageReport> = {}): PackageReport {
  return {
    build: {
      project: 'Stacks',
      site: 'Big & small <site>',
      name: "zlib@1.3.1 %gcc hash=abcdef (it's)",
      stamp: '20261123-2300-Nightly',
    },
    generator: 'stackwright 0.1.0',
    host: { name: 'node1', system: 'Linux', release: '6.1', platform: 'x86_64', target: 'zen2' },
    started: new Date('2026-11-23T23:00:00Z'),
    seconds: 60,
    outcome: 'failed',
    command: "stackwright rebuild --hash abcdef && echo 'a' < b",
    log: readBuildLog(log),
    labels: ['zlib', 'a & b'],
    ...over,
  };
}

interface Request {
  readonly method: string;
  readonly url: URL;
  readonly headers: NodeJS.Dict<string | string[]>;
  readonly body: string;
}
/**
 * What a stand-in for CDash does with a request: answers, `drop`s the connection before it has taken the file or `lose`s
 * the answer after that, `hang`s without an answer, or answers without an end, as fast as it can (`endless`) or byte by
 * byte (`drip`).
 */
type Behaviour = (
  request: Request,
  at: number,
) => { status?: number; body?: string } | 'drop' | 'lose' | 'hang' | 'endless' | 'drip' | undefined;

/** What CDash shows of a build. */
export interface Totals {
  errors: number;
  warnings: number;
  tests: number;
  files: number;
  complete: boolean;
}

/**
 * A server that keeps what it gets and answers and counts as CDash 5.3 does, unless told otherwise: it checks the MD5,
 * adds the findings and tests of a file that comes twice, and a file that comes after `Done` starts a new build, whose id
 * only the next answer has. `Done` counts for the build that it names.
 */
export async function startServer(behave: Behaviour = () => undefined): Promise<{
  url: string;
  requests: Request[];
  kinds: () => string[];
  totals: () => Totals;
  close: () => Promise<void>;
}> {
  const requests: Request[] = [];
  let id = 7;
  let totals = emptyBuild();
  const server: Server = createServer(async (incoming, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    const request: Request = {
      method: incoming.method!,
      url: new URL(incoming.url!, 'http://127.0.0.1'),
      headers: incoming.headers,
      body: body.toString(),
    };
    requests.push(request);
    const told = behave(request, requests.length);
    if (told === 'drop') return void incoming.socket.destroy();
    if (told === 'hang') return;
    if (told === 'endless' || told === 'drip') return goOn(response, told);
    if (told && told !== 'lose') return void response.writeHead(told.status ?? 200).end(told.body ?? '');
    const md5 = request.url.searchParams.get('MD5');
    if (md5 !== createHash('md5').update(body).digest('hex')) {
      return void response.writeHead(400).end('{"status":1,"description":"md5 mismatch."}');
    }
    const answered = id;
    const [, done] = /<Done>.*<buildId>(\d+)/.exec(request.body) ?? [];
    if (done !== undefined) totals.complete ||= Number(done) === id;
    else {
      if (totals.complete) {
        id += 1;
        totals = emptyBuild();
      }
      count(totals, request.body);
    }
    if (told === 'lose') return void incoming.socket.destroy();
    response.end(
      `<cdash version="5.3.0">\n <message></message>\n <status>OK</status>\n <buildId>${answered}</buildId>\n</cdash>`,
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    totals: () => totals,
    kinds: () =>
      requests.map(
        ({ body }) => /<(Update|Configure|Build|Testing|Notes|Upload|Done)[ >]/.exec(body)?.[1] ?? body,
      ),
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function emptyBuild(): Totals {
  return { errors: 0, warnings: 0, tests: 0, files: 0, complete: false };
}

function count(totals: Totals, body: string): void {
  const of = (pattern: RegExp) => body.match(pattern)?.length ?? 0;
  totals.errors += of(/<Error>/g);
  totals.warnings += of(/<Warning>/g);
  totals.tests += of(/<Test Status=/g);
  totals.files += of(/<File /g);
}

function goOn(response: ServerResponse, how: 'endless' | 'drip'): void {
  const chunk = how === 'drip' ? ' ' : Buffer.alloc(64 * 1024, ' ');
  const timer = setInterval(() => {
    while (response.write(chunk) && how === 'endless' && !response.destroyed);
  }, 5);
  response.on('close', () => clearInterval(timer));
}
