import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { has, htpasswd, type RegistryServer, startRegistry } from '@stackwright/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const programs = ['docker-registry', 'openssl'].filter((program) => !has(program));
const missing = programs.length > 0 ? ` (skipped: apt-get install ${programs.join(' ')})` : '';
const path = (name: string) => fileURLToPath(new URL(`../../../${name}`, import.meta.url));
const quickstart = path('stacks/quickstart');
const hookFile = path('apps/image-hook/dist/cli.js');

describe.skipIf(missing !== '')(`a registry with TLS of its own authority and a password${missing}`, () => {
  const cwd = mkdtempSync(join(tmpdir(), 'tls-registry-'));
  let registry: RegistryServer;
  let env: NodeJS.ProcessEnv;
  /** A process of its own: Node reads authorities when it starts. */
  const node = (file: string, args: readonly string[], over: NodeJS.ProcessEnv = {}) =>
    spawnSync(process.execPath, [file, ...args], { cwd, env: { ...env, ...over }, encoding: 'utf8' });
  const call = (...args: string[]) => node(path('apps/runner/dist/cli.js'), args);
  const at = (name: string) => `oci://${registry.host}/${name}`;

  beforeAll(async () => {
    registry = await startRegistry(htpasswd, { tls: true });
    const auth = Buffer.from('robot:secret').toString('base64');
    mkdirSync(join(cwd, 'docker'));
    const login = JSON.stringify({ auths: { [registry.host]: { auth } } });
    writeFileSync(join(cwd, 'docker/config.json'), login);
    const base = { PATH: process.env.PATH, HOME: cwd, DOCKER_CONFIG: join(cwd, 'docker') };
    env = { ...base, SSL_CERT_FILE: registry.authority };
    const trust = ['--trust', join(quickstart, 'keys/quickstart.pub')];
    const copied = call('mirror', 'copy', join(quickstart, 'mirror'), at('mirror'), ...trust);
    expect(copied).toMatchObject({ status: 0 });
  });
  afterAll(async () => {
    await registry?.stop();
    rmSync(cwd, { recursive: true, force: true });
  });

  it('is a mirror whose blobs are mounted into an image, and gives the image back as a base', () => {
    const from = ['--mirror', at('mirror'), '--unsigned'];
    const pushed = call('image', 'push', quickstart, at('group/image:1'), ...from);
    expect(pushed).toMatchObject({ status: 0 });
    expect(pushed.stderr).toMatch(/ 0 of \d+ layers sent/);
    const read = JSON.parse(call('image', 'inspect', at('group/image:1'), '--json').stdout);
    expect(pushed.stdout.trim()).toBe(read.digest);

    const onBase = ['--base', at('group/image:1'), '-o', 'oci:layout', '--no-check'];
    expect(call('image', 'build', quickstart, ...from, ...onBase)).toMatchObject({ status: 0 });
    const made = JSON.parse(call('image', 'inspect', 'oci:layout', '--json').stdout);
    expect(made.manifest.layers.slice(0, read.manifest.layers.length)).toEqual(read.manifest.layers);
    expect(made.config.config.Labels['org.opencontainers.image.base.digest']).toBe(read.digest);
  });

  it('is a mirror for the hook, which publishes there', () => {
    const args = [quickstart, '--mirror', at('mirror'), '--unsigned', '--reference', at('group/hook:1')];
    const { status, stdout, stderr } = node(hookFile, args);
    expect({ status, stderr }).toEqual({ status: 0, stderr: expect.stringMatching(/: 0 of \d+ layers/) });
    const { digest } = JSON.parse(call('image', 'inspect', at('group/hook:1'), '--json').stdout);
    expect(stdout.trim()).toBe(digest);
  });

  it('is known by NODE_EXTRA_CA_CERTS, too', () => {
    const { authority } = registry;
    const args = ['image', 'inspect', at('group/image:1')];
    const more = { SSL_CERT_FILE: undefined, NODE_EXTRA_CA_CERTS: authority };
    expect(node(path('apps/runner/dist/cli.js'), args, more)).toMatchObject({ status: 0 });
  });

  it('is refused where its authority is not known, and refuses those without a login; both say what to do', () => {
    const args = ['image', 'push', quickstart, at('group/image:2')];
    const cli = path('apps/runner/dist/cli.js');
    const unknown = node(cli, args, { SSL_CERT_FILE: undefined });
    expect(unknown).toMatchObject({ status: 3, stderr: expect.stringContaining('Set SSL_CERT_FILE') });
    mkdirSync(join(cwd, 'nobody'));
    const nobody = node(cli, args, { DOCKER_CONFIG: join(cwd, 'nobody') });
    expect(nobody).toMatchObject({ status: 3, stderr: expect.stringContaining('docker login') });
    expect(existsSync(join(cwd, 'image'))).toBe(false);
  });
});
