import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { openStore, readObject } from './index.js';

let folder: string;
let server: Server;
let url: string;
/** What each request said of who asks: access key, session token, path. */
let asked: { key: string | undefined; token: string | undefined; path: string }[];
let sts: { status: number; body: URLSearchParams[] };

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'stackwright-aws-'));
  asked = [];
  sts = { status: 200, body: [] };
  server = createServer(async (request, response) => {
    if (request.method === 'POST') {
      let body = '';
      for await (const chunk of request) body += chunk;
      sts.body.push(new URLSearchParams(body));
      response.writeHead(sts.status, { 'content-type': 'text/xml' });
      return void response.end(sts.status === 200 ? role(sts.body[0]!.get('Action')!) : denied);
    }
    const key = /Credential=([^/]+)/.exec(request.headers.authorization ?? '')?.[1];
    asked.push({
      key,
      token: request.headers['x-amz-security-token'] as string,
      path: request.url!.split('?')[0]!,
    });
    response.end('content');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  // Nothing of the machine's own: the SDK reads the process's environment and files.
  for (const name of Object.keys(process.env)) if (/^(AWS_|S3_END)/.test(name)) vi.stubEnv(name, undefined);
  vi.stubEnv('HOME', folder);
  vi.stubEnv('AWS_CONFIG_FILE', join(folder, 'config'));
  vi.stubEnv('AWS_SHARED_CREDENTIALS_FILE', join(folder, 'credentials'));
  vi.stubEnv('AWS_EC2_METADATA_DISABLED', 'true');
});
afterEach(async () => {
  vi.unstubAllEnvs();
  server.closeAllConnections();
  server.close();
  await rm(folder, { recursive: true, force: true });
});

const role = (
  action: string,
) => `<${action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><${action}Result>
<Credentials><AccessKeyId>AKIAROLE</AccessKeyId><SecretAccessKey>role-secret</SecretAccessKey>
<SessionToken>role-token</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>
</${action}Result></${action}Response>`;
const denied = `<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>
<Message>Not authorized to assume it</Message></Error></ErrorResponse>`;

async function read(options: object = {}) {
  const store = await openStore('s3://bucket/mirror', options);
  try {
    await readObject(store, 'x');
    return asked.at(-1)!;
  } finally {
    await store.close();
  }
}

describe('who asks an S3 server', () => {
  const keys = { AWS_ACCESS_KEY_ID: 'AKIAENV', AWS_SECRET_ACCESS_KEY: 'secret' };
  const profiles = () =>
    writeFile(
      join(folder, 'credentials'),
      '[default]\naws_access_key_id = AKIADEFAULT\naws_secret_access_key = s\n' +
        '[work]\naws_access_key_id = AKIAWORK\naws_secret_access_key = s\naws_session_token = work-token\n',
    );

  it('keys of the environment, with a session token', async () => {
    const env = { S3_ENDPOINT_URL: url, ...keys, AWS_SESSION_TOKEN: 'env-token' };
    expect(await read({ env })).toEqual({ key: 'AKIAENV', token: 'env-token', path: '/bucket/mirror/x' });
  });

  it('nobody, when there are no credentials at all, or when asked to', async () => {
    expect(await read({ env: { S3_ENDPOINT_URL: url } })).toMatchObject({ key: undefined });
    expect(await read({ env: { S3_ENDPOINT_URL: url, ...keys }, anonymous: true })).toMatchObject({
      key: undefined,
    });
  });

  it('a profile, also where the environment has keys, as it was asked for', async () => {
    await profiles();
    const env = { S3_ENDPOINT_URL: url, ...keys };
    expect(await read({ env, profile: 'work' })).toMatchObject({ key: 'AKIAWORK', token: 'work-token' });
    expect(await read({ env: { S3_ENDPOINT_URL: url } })).toMatchObject({ key: 'AKIADEFAULT' });
    expect(await read({ env: { S3_ENDPOINT_URL: url, AWS_PROFILE: 'work' } })).toMatchObject({
      key: 'AKIAWORK',
    });
    expect(await read({ env: { ...env, AWS_PROFILE: 'work' } })).toMatchObject({ key: 'AKIAENV' });
  });

  it.each([
    ['of the profile', 'endpoint_url = URL'],
    ['of the profile for S3', 'services = here\n[services here]\ns3 =\n  endpoint_url = URL'],
  ])('at the address %s, bucket in the path', async (_, config) => {
    await writeFile(
      join(folder, 'config'),
      `[profile work]\nregion = eu-west-1\n${config.replace('URL', url)}\n`,
    );
    await profiles();
    expect(await read({ env: {}, profile: 'work' })).toMatchObject({
      key: 'AKIAWORK',
      path: '/bucket/mirror/x',
    });
  });

  it.each(['S3_ENDPOINT_URL', 'S3_ENDPOIT_URL', 'AWS_ENDPOINT_URL_S3', 'AWS_ENDPOINT_URL'])(
    'at the address in %s',
    async (name) => {
      expect(await read({ env: { [name]: url, ...keys } })).toMatchObject({ path: '/bucket/mirror/x' });
    },
  );

  it('a role that a profile takes on', async () => {
    await profiles();
    await writeFile(
      join(folder, 'config'),
      '[profile role]\nrole_arn = arn:aws:iam::1:role/ci\nsource_profile = default\nregion = us-east-1\n',
    );
    vi.stubEnv('AWS_ENDPOINT_URL_STS', url);
    const found = await read({ env: { S3_ENDPOINT_URL: url }, profile: 'role' });
    expect(found).toMatchObject({ key: 'AKIAROLE', token: 'role-token' });
    expect(sts.body[0]!.get('RoleArn')).toBe('arn:aws:iam::1:role/ci');
  });

  describe('a web identity, as CI jobs have it', () => {
    beforeEach(async () => {
      await writeFile(join(folder, 'jwt'), 'the.job.token');
      vi.stubEnv('AWS_ENDPOINT_URL_STS', url);
      vi.stubEnv('S3_ENDPOINT_URL', url);
      vi.stubEnv('AWS_WEB_IDENTITY_TOKEN_FILE', join(folder, 'jwt'));
      vi.stubEnv('AWS_ROLE_ARN', 'arn:aws:iam::1:role/ci');
    });

    it('is exchanged for keys', async () => {
      expect(await read()).toMatchObject({ key: 'AKIAROLE', token: 'role-token' });
      expect(sts.body[0]!.get('WebIdentityToken')).toBe('the.job.token');
    });

    it('that is refused is an error, not a request by nobody', async () => {
      sts.status = 403;
      await expect(read()).rejects.toMatchObject({
        code: 'denied',
        message: expect.stringContaining('Not authorized to assume it'),
      });
      expect(asked).toEqual([]);
    });
  });

  it.each([
    ['given', {}, { profile: 'absent' }],
    ['in AWS_PROFILE', { AWS_PROFILE: 'absent' }, {}],
  ])('a profile %s that does not exist is an error that names it', async (_, env, options) => {
    await profiles();
    await expect(read({ env: { S3_ENDPOINT_URL: url, ...env }, ...options })).rejects.toMatchObject({
      code: 'denied',
      kind: 'missing',
      message: expect.stringContaining('"absent"'),
    });
    expect(asked).toEqual([]);
  });
});
