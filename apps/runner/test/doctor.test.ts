import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createKey, formatSigningKey } from '@stackwright/buildcache';
import { openStore } from '@stackwright/storage';
import { has, startVersitygw } from '@stackwright/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { call } from './call.js';

const quickstart = fileURLToPath(new URL('../../../stacks/quickstart', import.meta.url));
const path = process.env.PATH;
let stack: string;
beforeEach(() => {
  stack = join(mkdtempSync(join(tmpdir(), 'doctor-')), 'stack');
  cpSync(quickstart, stack, { recursive: true });
  edit(/\n {2}cdash:[\s\S]*/, '\n');
});
afterEach(() => rmSync(join(stack, '..'), { recursive: true, force: true }));

function edit(from: string | RegExp, to: string, file = 'spack.yaml') {
  const text = readFileSync(join(stack, file), 'utf8');
  const changed = text.replace(from, to);
  expect(changed).not.toBe(text);
  writeFileSync(join(stack, file), changed);
}

/** What doctor says of one thing. */
async function about(what: string, env: NodeJS.ProcessEnv = {}) {
  const { code, stdout } = await call(['doctor', stack, '--json'], { env: { PATH: path, ...env } });
  const { findings } = JSON.parse(stdout) as {
    findings: { what: string; state: string; message: string; fix?: string }[];
  };
  return { code, ...findings.find((one) => one.what === what) };
}

describe('stackwright doctor', () => {
  it('finds nothing that would make the quickstart fail', async () => {
    const { code, stdout } = await call(['doctor', stack], { env: { PATH: path } });
    expect(code).toBe(0);
    expect(stdout).toMatch(/^✓ Node /);
    expect(stdout).toMatch(/^✓ lock +2 roots, 12 specs$/m);
    expect(stdout).toMatch(/^✓ mirror buildcache-destination +file:.*: 9 packages$/m);
    expect(stdout).not.toContain('✗');
  });

  it("tells how near the stack's pipeline comes to what GitLab and GitHub take", async () => {
    const gitlab = await about('GitLab');
    expect(gitlab).toMatchObject({ code: 0, state: 'ok' });
    expect(gitlab.message).toMatch(
      /^9 jobs at most, in a file of [\d.]+ kB of at most 5 MB; a job needs up to \d of at most 50 others$/,
    );
    const github = await about('GitHub');
    expect(github).toMatchObject({ code: 0, state: 'ok' });
    expect(github.message).toMatch(
      /^9 jobs at most, in a file of [\d.]+ kB of at most 512 kB; 0 of at most 50 called workflows$/,
    );
  });

  it('tells that a job has more configuration than GitLab takes', async () => {
    edit('- stackwright rebuild', `- stackwright rebuild ${'x'.repeat(1_100_000)}`);
    expect(await about('GitLab')).toMatchObject({
      code: 0,
      state: 'warning',
      message: expect.stringContaining('1.1 MiB of configuration'),
    });
    expect(await about('GitHub')).toMatchObject({ code: 0, state: 'warning', fix: expect.any(String) });
  });

  it('examines just the machine without a stack', async () => {
    const { code, stdout } = await call(['doctor'], { env: { PATH: '/nowhere' } });
    expect(code).toBe(0);
    expect(stdout).toMatch(/^! git +Not on PATH/m);
    expect(stdout).toMatch(/→ Set SPACK_REF/);
    expect(stdout).not.toContain('lock');
  });

  it('says that an old Spack is too old', async () => {
    const root = join(stack, 'old');
    mkdirSync(join(root, 'bin'), { recursive: true });
    writeFileSync(join(root, 'bin/spack'), '#!/bin/sh\necho 0.23.1\n', { mode: 0o755 });
    expect(await about('Spack', { SPACK_ROOT: root })).toMatchObject({
      code: 1,
      state: 'problem',
      fix: 'Use Spack 1.0 or later.',
    });
  });

  it('sees a lock of another manifest', async () => {
    edit('- quickstart-suite', '- quickstart-suite@2027');
    expect(await about('lock')).toMatchObject({
      code: 1,
      state: 'problem',
      message: expect.stringContaining('quickstart-suite@2027'),
      fix: expect.stringContaining('stackwright concretize'),
    });
  });

  it('sees a lock that was edited by hand, as run does', async () => {
    edit(/"name":\s*"hello",\s*"version":\s*"([^"]*)"/, '"name":"hello","version":"$1.9"', 'spack.lock');
    expect(await about('lock')).toMatchObject({
      code: 1,
      state: 'problem',
      message: expect.stringMatching(/hello/),
    });
  });

  it('sees an error of the manifest, with its place', async () => {
    edit('  view: false', '  vieew: false');
    expect(await about('spack.yaml')).toMatchObject({
      code: 1,
      message: expect.stringMatching(/spack\.yaml:\d+:\d+/),
    });
  });

  it('sees a signing key that nobody trusts, and shows none of it', async () => {
    const key = formatSigningKey(await createKey({ name: 'CI' }));
    const found = await about('key', { SPACK_SIGNING_KEY: key });
    expect(found).toMatchObject({ code: 1, message: expect.stringContaining('does not trust') });
    expect(JSON.stringify(found)).not.toContain(key);
  });

  it('sees a mirror that is not there, and one without an index', async () => {
    rmSync(join(stack, 'mirror/v3/manifests/index'), { recursive: true });
    expect(await about('mirror buildcache-destination')).toMatchObject({
      code: 0,
      state: 'warning',
      fix: expect.stringContaining('stackwright mirror index'),
    });
    rmSync(join(stack, 'mirror'), { recursive: true });
    expect(await about('mirror buildcache-destination')).toMatchObject({
      code: 0,
      state: 'warning',
      message: expect.stringContaining('is no mirror yet'),
    });
  });

  it('tries the mirror that jobs push to, and leaves nothing there', async () => {
    const before = readdirSync(join(stack, 'mirror')).sort();
    expect(await about('writing to buildcache-destination')).toMatchObject({
      state: 'ok',
      message: expect.stringMatching(
        /keeps conditions; the index was written (today|a day ago|\d+ days ago)$/,
      ),
    });
    expect(readdirSync(join(stack, 'mirror')).sort()).toEqual(before);
  });

  const missing = has('versitygw')
    ? ''
    : ' (skipped: needs versitygw; go install github.com/versity/versitygw/cmd/versitygw@v1.0.14)';

  it.skipIf(missing !== '')(`tells what is wrong with a mirror on S3${missing}`, async () => {
    const server = await startVersitygw(['bucket']);
    try {
      edit(/(buildcache-destination:\s+url: ).*/, '$1s3://bucket/mirror');
      const what = 'writing to buildcache-destination';
      expect(await about(what, server.env)).toMatchObject({
        state: 'warning',
        message: expect.stringContaining('writes although a condition does not hold'),
        fix: expect.stringContaining('If-Match'),
      });
      expect(await about(what, { ...server.env, AWS_REGION: 'eu-west-1' })).toMatchObject({
        state: 'warning',
        fix: expect.stringContaining('AWS_REGION'),
      });
      expect(await about(what, { ...server.env, AWS_ACCESS_KEY_ID: 'AKIAUNKNOWN' })).toMatchObject({
        state: 'warning',
        fix: expect.stringContaining('AWS_ACCESS_KEY_ID'),
      });
      const store = await openStore('s3://bucket', { env: server.env });
      for await (const { key } of store.list('')) expect.fail(key);
      await store.close();
    } finally {
      await server.stop();
    }
  });

  it('sees that no mirror is the one that jobs push to', async () => {
    edit('buildcache-destination', 'other');
    expect(await about('mirrors')).toMatchObject({
      code: 1,
      state: 'problem',
      message: expect.stringContaining('buildcache-destination'),
    });
  });

  it('sees a base image that is not there', async () => {
    edit(/base: .*/, 'base: oci:nowhere', 'stackwright.yaml');
    expect(await about('image base')).toMatchObject({ code: 1, state: 'problem' });
  });

  it('asks CDash whether it is one', async () => {
    const server = createServer((request, response) =>
      response.end(request.url === '/cdash/ping' ? 'OK\n' : '<html>'),
    );
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    try {
      edit(/$/, `  cdash: { build-group: Nightly, project: P, url: "${url}/cdash" }\n`);
      expect(await about('CDash')).toMatchObject({
        code: 0,
        state: 'warning',
        message: expect.stringContaining('no token'),
      });
      expect(await about('CDash', { CDASH_AUTH_TOKEN: 'secret-token' })).toMatchObject({
        code: 0,
        state: 'ok',
      });
      edit(`${url}/cdash`, `${url}/other`);
      expect(await about('CDash')).toMatchObject({
        code: 1,
        message: expect.stringContaining('does not answer as a CDash'),
      });
    } finally {
      server.close();
      server.closeAllConnections();
    }
  });
});
