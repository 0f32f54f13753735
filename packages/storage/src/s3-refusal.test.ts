import { createServer } from 'node:http';
import { createServer as createSocket, type Server, type Socket } from 'node:net';
import { has, startVersitygw } from '@stackwright/testing';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { openStore } from './index.js';

const keys = { AWS_ACCESS_KEY_ID: 'AKIALOCALTEST', AWS_SECRET_ACCESS_KEY: 'local-test-secret' };
const quick = { attempts: 7, first: 1, longest: 2 };

async function listen(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  const address = server.address();
  return `127.0.0.1:${typeof address === 'object' && address ? address.port : 0}`;
}

async function get(env: NodeJS.ProcessEnv, url = 's3://bucket') {
  const store = await openStore(url, { env: { ...keys, ...env }, retry: quick });
  try {
    await store.get('x');
  } finally {
    await store.close();
  }
}

describe('the refusal of an S3 server tells what is wrong:', () => {
  it.each([
    [403, 'InvalidAccessKeyId', 'does not know the access key', 'AWS_ACCESS_KEY_ID'],
    [404, 'XAdminUserNotFound', 'does not know the access key', 'AWS_ACCESS_KEY_ID'],
    [403, 'SignatureDoesNotMatch', 'the secret does not belong', 'AWS_SECRET_ACCESS_KEY'],
    [400, 'AuthorizationHeaderMalformed', 'another region', 'AWS_REGION'],
    [301, 'PermanentRedirect', 'another region', 'AWS_REGION'],
    [403, 'RequestTimeTooSkewed', 'clock', 'Set the clock'],
    [400, 'ExpiredToken', 'has expired', 'AWS_SESSION_TOKEN'],
    [400, 'InvalidToken', 'the session token does not belong', 'AWS_SESSION_TOKEN'],
    [403, 'AccessDenied', 'no right', 'owner of the bucket'],
  ])('%s %s', async (status, code, reason, hint) => {
    const server = createServer((_, response) => {
      response.writeHead(status, { 'content-type': 'application/xml' });
      response.end(`<Error><Code>${code}</Code><Message>No.</Message></Error>`);
    });
    const host = await listen(server);
    await expect(get({ S3_ENDPOINT_URL: `http://${host}` })).rejects.toMatchObject({
      code: 'denied',
      message: expect.stringContaining(reason),
      hint: expect.stringContaining(hint),
    });
  });

  it.each([
    ['closes each connection', (socket: Socket) => void socket.destroy()],
    ['speaks something else', (socket: Socket) => void socket.end('220 mail.example ESMTP\r\n')],
  ])('a server that %s is tried three times', async (_, answer) => {
    const server = createSocket((socket) => answer(socket.on('error', () => {})));
    const host = await listen(server);
    await expect(get({ S3_ENDPOINT_URL: `http://${host}` })).rejects.toMatchObject({
      code: 'unavailable',
      details: { attempts: 3 },
      hint: expect.stringContaining('Check the endpoint'),
    });
  });
});

const missing = has('versitygw')
  ? ''
  : ' (skipped: needs versitygw; go install github.com/versity/versitygw/cmd/versitygw@v1.0.14)';

describe.skipIf(missing !== '')(`versitygw${missing}`, () => {
  let server: Awaited<ReturnType<typeof startVersitygw>>;
  beforeAll(async () => {
    server = await startVersitygw(['bucket']);
  });
  afterAll(() => server?.stop());

  it.each([
    ['an unknown key', { AWS_ACCESS_KEY_ID: 'AKIAUNKNOWN' }, 'does not know the access key'],
    ['a wrong secret', { AWS_SECRET_ACCESS_KEY: 'wrong' }, 'the secret does not belong'],
    ['a wrong region', { AWS_REGION: 'eu-west-1' }, 'in another region'],
  ])('is told apart: %s', async (_, env, reason) => {
    await expect(get({ ...server.env, ...env })).rejects.toMatchObject({
      code: 'denied',
      message: expect.stringContaining(reason),
    });
  });

  it('finds out that conditions are not kept', async () => {
    const store = await openStore('s3://bucket', { env: server.env });
    await store.put('one', Buffer.from('1'), { precondition: { absent: true } });
    expect(store.conditional).toBe(false);
    await store.close();
  });
});
