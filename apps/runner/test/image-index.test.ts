import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { has, startRegistry } from '@stackwright/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { call } from './call.js';
import { oneLayerImage } from './one-layer-image.js';

const quickstart = fileURLToPath(new URL('../../../stacks/quickstart', import.meta.url));

describe('stackwright image index', () => {
  const cwd = mkdtempSync(join(tmpdir(), 'image-index-'));
  afterAll(() => rmSync(cwd, { recursive: true, force: true }));
  const run = (...args: string[]) => call(args, { cwd, env: { HOME: cwd } });
  const configOf = async (image: string, architecture: string) => {
    const { stdout } = await run('image', 'inspect', image, '--json');
    const { config } = JSON.parse(stdout);
    return config.architecture === architecture && config;
  };
  let digests: { amd64: string; arm64: string };

  beforeAll(async () => {
    const { stdout } = await run('image', 'build', quickstart, '-o', 'oci:amd');
    const arm64 = await oneLayerImage(join(cwd, 'arm'), 'arm64', Buffer.alloc(1024));
    digests = { amd64: stdout.trim(), arm64 };
  });

  it('puts images of two platforms under one name, in any order, and a base is chosen from them', async () => {
    const made = await run('image', 'index', 'oci:arm', 'oci:amd', '-o', 'oci:both:1', '--json');
    expect(JSON.parse(made.stdout).images).toEqual([
      { platform: 'linux/amd64', digest: digests.amd64 },
      { platform: 'linux/arm64', digest: digests.arm64 },
    ]);
    const again = await run('image', 'index', 'oci:amd', 'oci:arm', '-o', 'oci:both:2');
    expect(again.stdout.trim()).toBe(JSON.parse(made.stdout).digest);
    expect(await configOf('oci:both:1', 'amd64')).toBeTruthy();
    const onIndex = ['--base', 'oci:both:1', '--no-check', '-o', 'oci:on-index'];
    expect(await run('image', 'build', quickstart, ...onIndex)).toMatchObject({ code: 0 });
    expect(await configOf('oci:on-index', 'amd64')).toBeTruthy();
  });

  it('refuses two images for one platform, and says which', async () => {
    const { code, stderr } = await run('image', 'index', 'oci:amd', 'oci:arm', 'oci:amd', '-o', 'oci:twice');
    expect([code, stderr]).toEqual([2, expect.stringContaining('are both for linux/amd64')]);
  });

  it.skipIf(!has('docker-registry') || !has('skopeo'))(
    'is in a registry what skopeo takes for each platform (skipped: apt-get install docker-registry skopeo)',
    async () => {
      const registry = await startRegistry();
      try {
        const reference = `${registry.host}/group/both:1`;
        expect(await run('image', 'index', 'oci:amd', 'oci:arm', '-o', reference)).toMatchObject({ code: 0 });
        for (const architecture of ['amd64', 'arm64']) {
          const target = `oci:${join(cwd, `taken-${architecture}`)}:latest`;
          const from = ['--src-tls-verify=false', `docker://${reference}`, target];
          const copy = ['--insecure-policy', '--override-arch', architecture, 'copy', ...from];
          execFileSync('skopeo', copy, { stdio: 'ignore' });
          expect(await configOf(`oci:taken-${architecture}`, architecture)).toBeTruthy();
        }
      } finally {
        await registry.stop();
      }
    },
  );
});
