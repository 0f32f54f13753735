import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { toPlain } from './ci/attributes.js';
import { parseCi } from './ci/ci-section.js';
import { askDynamicMappings } from './dynamic-mapping.js';
import { hashOf, mini } from './graph/graphs.test.support.js';
import { externals, prune } from './prune/prune.js';

let server: Server | undefined;
afterEach(() => {
  server?.closeAllConnections();
  server?.close();
});

const pruned = prune(mini, [externals]);

async function ask(
  answer: (request: IncomingMessage, response: ServerResponse) => void,
  more: object = {},
  skip?: RegExp,
) {
  server = createServer(answer);
  await new Promise<void>((resolve) => server!.listen(0, '127.0.0.1', resolve));
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}/allocation`;
  const ci = parseCi({
    'pipeline-gen': [{ 'dynamic-mapping': { name: 'gantry', endpoint, timeout: 1, ...more } }],
  });
  const warnings: string[] = [];
  const answers = await askDynamicMappings(pruned, ci, {
    env: {},
    variable: (name) => ({ TOKEN: 'secret' })[name],
    skip,
    onWarning: (text) => warnings.push(text),
  });
  const plain = [...(answers.get(0) ?? [])].map(([hash, value]) => [hash, toPlain(value)] as const);
  return { answers: new Map(plain), warnings };
}

const json = (response: ServerResponse, value: unknown) => response.end(JSON.stringify(value));

describe('askDynamicMappings', () => {
  it('asks for each job with its spec and the expanded header, and keeps what is allowed', async () => {
    const asked: string[] = [];
    const { answers, warnings } = await ask(
      (request, response) => {
        asked.push(`${request.url} ${request.headers.authorization}`);
        json(response, { variables: { CPU: '4' }, tags: ['x'], script: ['evil'] });
      },
      {
        header: { Authorization: `Bearer $${'{TOKEN}'}` },
        allow: ['variables'],
        require: ['tags'],
        ignore: ['script'],
      },
    );
    expect(warnings).toEqual([]);
    expect(asked).toContain(
      '/allocation?spec=libgreet%401.2.0%20%2Bshared%20build_system%3Dgeneric%20flavor%3Dfancy%20arch%3Dlinux-debian12-x86_64_v3%25gcc%4012.2.0 Bearer secret',
    );
    expect(answers.size).toBe(8);
    expect(answers.get(hashOf(mini, 'libgreet'))).toEqual({ variables: { CPU: '4' }, tags: ['x'] });
  });

  it('goes on without what cannot be had, and says so', async () => {
    const { answers, warnings } = await ask((request, response) => {
      if (request.url!.includes('libgreet')) response.writeHead(500).end();
      else if (request.url!.includes('libshout')) response.end('[]');
      else if (request.url!.includes('hello')) setTimeout(() => response.end(), 3000).unref();
      else json(response, { tags: ['x'] });
    });
    expect(answers.size).toBe(5);
    expect(warnings.join('\n')).toMatch(/libgreet: HTTP 500, Internal Server Error\./);
    expect(warnings.join('\n')).toMatch(/libshout: the answer is no JSON object/);
    expect(warnings.join('\n')).toMatch(/hello-cli: no answer within 1 s\./);
  });

  it('goes on without an answer that does not end, however fast or slow it comes', async () => {
    const { answers, warnings } = await ask((request, response) => {
      const slow = request.url!.includes('libgreet');
      if (!slow && !request.url!.includes('libshout')) return json(response, { tags: ['x'] });
      const chunk = slow ? ' ' : Buffer.alloc(64 * 1024, ' ');
      const timer = setInterval(() => response.write(chunk), 5);
      response.on('close', () => clearInterval(timer));
    });
    expect(answers.size).toBe(6);
    expect(warnings.join('\n')).toMatch(/libgreet: the answer did not come within 1 s\./);
    expect(warnings.join('\n')).toMatch(/libshout: the answer is larger than 262144 bytes\./);
  });

  it('warns of an answer that lacks what is required', async () => {
    const { warnings } = await ask((_request, response) => json(response, {}), { require: ['variables'] });
    expect(warnings).toHaveLength(8);
    expect(warnings[0]).toMatch(/without variables/);
  });

  it('does not ask a mapping that is to be skipped', async () => {
    const { answers } = await ask((_request, response) => json(response, { tags: ['x'] }), {}, /^gan/);
    expect(answers.size).toBe(0);
  });
});
