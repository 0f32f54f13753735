import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { openRepository, parseAddress, storedCredentials } from '../src/index.js';

const work = mkdtempSync(join(tmpdir(), 'credentials-'));
afterAll(() => rmSync(work, { recursive: true, force: true }));
const basic = (text: string) => ({ auth: Buffer.from(text).toString('base64') });
let homes = 0;

/** A home with these files, and the environment of its user. */
function home(files: Record<string, unknown>, env: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  const folder = join(work, `home-${(homes += 1)}`);
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), typeof content === 'string' ? content : JSON.stringify(content));
  }
  const inHome = Object.entries(env).map(([name, value]) => [name, join(folder, value ?? '')]);
  return { HOME: folder, ...Object.fromEntries(inHome) };
}

describe('stored credentials', () => {
  const docker = { auths: { 'r.example.org': basic('docker:1') } };
  const podman = { auths: { 'r.example.org': basic('podman:2') } };
  it.each<[string, NodeJS.ProcessEnv, string | undefined]>([
    ['Docker', home({ '.docker/config.json': docker }), 'docker'],
    [
      'podman, of this session',
      home({ 'run/containers/auth.json': podman }, { XDG_RUNTIME_DIR: 'run' }),
      'podman',
    ],
    ['podman, that stay', home({ '.config/containers/auth.json': podman }), 'podman'],
    [
      'podman before Docker',
      home({ '.docker/config.json': docker, 'run/containers/auth.json': podman }, { XDG_RUNTIME_DIR: 'run' }),
      'podman',
    ],
    [
      'Docker, where podman knows others',
      home(
        { '.docker/config.json': docker, 'run/containers/auth.json': { auths: {} } },
        { XDG_RUNTIME_DIR: 'run' },
      ),
      'docker',
    ],
    [
      'Docker, whose folder is named',
      home({ 'd/config.json': docker, '.config/containers/auth.json': podman }, { DOCKER_CONFIG: 'd' }),
      'docker',
    ],
    [
      'a file that is named',
      home({ a: podman, '.docker/config.json': docker }, { REGISTRY_AUTH_FILE: 'a' }),
      'podman',
    ],
    ['nobody', home({}), undefined],
  ])('are read as %s keeps them', async (_, env, user) => {
    expect((await storedCredentials('r.example.org', env))?.username).toBe(user);
  });

  it('are those of the longest namespace', async () => {
    const auths = {
      'r.example.org': basic('host:1'),
      'r.example.org/group': basic('group:2'),
      'r.example.org/group/project': basic('project:3'),
    };
    const env = home({ '.docker/config.json': { auths } });
    const user = async (repository?: string) =>
      (await storedCredentials('r.example.org', env, repository))?.username;
    expect(await user('group/project')).toBe('project');
    expect(await user('group/project/more')).toBe('project');
    expect(await user('group/other')).toBe('group');
    expect(await user('groups')).toBe('host');
    expect(await user()).toBe('host');
  });

  it('come from helpers, which may give an identity token', async () => {
    const bin = join(work, 'bin');
    mkdirSync(bin, { recursive: true });
    const helper = join(bin, 'docker-credential-test');
    writeFileSync(
      helper,
      '#!/bin/sh\nread -r host\ncase $host in token*) name="<token>" ;; *) name=user ;; esac\necho "{\\"Username\\":\\"$name\\",\\"Secret\\":\\"of $host\\"}"\n',
    );
    chmodSync(helper, 0o755);
    const env = {
      ...home({ '.docker/config.json': { credHelpers: { 'one.example.org': 'test' }, credsStore: 'test' } }),
      PATH: `${bin}:${process.env.PATH}`,
    };
    expect(await storedCredentials('one.example.org', env, 'a/b')).toEqual({
      username: 'user',
      password: 'of one.example.org',
    });
    expect(await storedCredentials('token.example.org', env, 'a/b')).toMatchObject({
      identityToken: 'of token.example.org',
    });
    expect((await storedCredentials('docker.io', env, 'a/b'))?.password).toBe(
      'of https://index.docker.io/v1/',
    );
  });

  it('are refused in a file that is torn, without its text', async () => {
    const env = home({ '.docker/config.json': '{"auths": {"r": {"auth": "c2VjcmV0' });
    const reading = storedCredentials('r.example.org', env);
    await expect(reading).rejects.toMatchObject({
      code: 'invalid',
      message: expect.not.stringContaining('c2Vj'),
    });
  });
});

describe('an identity token', () => {
  it('is exchanged for access at the token server, and sent nowhere else', async () => {
    const seen: string[] = [];
    const server = createServer(async (request, response) => {
      let body = '';
      for await (const chunk of request) body += chunk;
      seen.push(`${request.method} ${request.url} ${request.headers.authorization ?? '-'} ${body}`);
      if (request.url === '/token') return response.end('{"access_token":"access"}');
      if (request.headers.authorization === 'Bearer access') return response.end('{"schemaVersion":2}');
      const challenge = `Bearer realm="http://${request.headers.host}/token",service="test"`;
      return response.writeHead(401, { 'www-authenticate': challenge }).end();
    });
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    try {
      const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
      const env = home({ '.docker/config.json': { auths: { [host]: { identitytoken: 'refresh' } } } });
      const repository = openRepository(parseAddress(`${host}/a/b`), env);
      expect((await repository.manifest('latest'))?.bytes.toString()).toBe('{"schemaVersion":2}');
      expect(seen).toEqual([
        'GET /v2/a/b/manifests/latest - ',
        'POST /token - grant_type=refresh_token&client_id=stackwright&refresh_token=refresh&service=test&scope=repository%3Aa%2Fb%3Apull',
        'GET /v2/a/b/manifests/latest Bearer access ',
      ]);
    } finally {
      server.closeAllConnections();
      server.close();
    }
  });
});

describe('an address', () => {
  it.each([
    ['r.example.org/a/b:1', undefined, 'r.example.org'],
    ['oci://127.0.0.1:5000/a/b:1', false, '127.0.0.1:5000'],
    ['oci+http://r.example.org/a/b:1', true, 'r.example.org'],
  ])('%s says how its registry is reached', (text, http, registry) => {
    expect(parseAddress(text)).toMatchObject({ http, registry, repository: 'a/b', tag: '1' });
  });

  it('with oci:// is asked with TLS on the loopback interface too', async () => {
    const server = createServer((_, response) => response.end('plain'));
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    try {
      const address = parseAddress(`oci://127.0.0.1:${(server.address() as AddressInfo).port}/a/b`);
      await expect(openRepository(address, home({})).manifest('latest')).rejects.toMatchObject({
        message: expect.stringContaining('https://127.0.0.1'),
        hint: expect.stringContaining('oci+http://'),
      });
    } finally {
      server.closeAllConnections();
      server.close();
    }
  });
});
