import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { RegistryRepository, readImage } from '@stackwright/oci';
import { openStack, openStackImage, silent } from '@stackwright/stack';
import { has, startRegistry } from '@stackwright/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runHook } from '../src/index.js';

const stack = fileURLToPath(new URL('../../../stacks/quickstart', import.meta.url));
const home = mkdtempSync(join(tmpdir(), 'hook-'));
afterAll(() => rmSync(home, { recursive: true, force: true }));

function hook(env: NodeJS.ProcessEnv) {
  const told: string[] = [];
  const done = runHook({ stack, cwd: home, env: { HOME: home, ...env }, tell: (line) => told.push(line) });
  return done.then((digest) => ({ digest, told }));
}

describe('the hook', () => {
  it('does nothing for a push that publishes nothing', async () => {
    const { digest, told } = await hook({
      GITLAB_CI: 'true',
      CI_REGISTRY_IMAGE: 'r.example.org/p',
      CI_COMMIT_BRANCH: 'try',
      CI_DEFAULT_BRANCH: 'main',
    });
    expect(digest).toBeUndefined();
    expect(told).toEqual([expect.stringContaining('the branch try publishes nothing')]);
  });
});

describe.skipIf(!has('docker-registry'))(
  'the hook with a registry (skipped without docker-registry: apt-get install docker-registry)',
  () => {
    let registry: Awaited<ReturnType<typeof startRegistry>>;
    beforeAll(async () => {
      registry = await startRegistry();
    });
    afterAll(() => registry?.stop());

    it.each(['software', 'mirror'])(
      'publishes the image that every other command makes: %s',
      async (kind) => {
        const folder = join(home, kind);
        cpSync(stack, folder, { recursive: true });
        const file = join(folder, 'stackwright.yaml');
        writeFileSync(file, readFileSync(file, 'utf8').replace('image:\n', `image:\n  kind: ${kind}\n`));
        const env = { HOME: home };
        const published = await runHook({
          stack: folder,
          cwd: home,
          env,
          references: [`${registry.host}/group/${kind}:1`],
          tell: () => {},
        });
        const signal = new AbortController().signal;
        const caller = { cwd: home, env, signal, note: () => {}, progress: silent };
        const staging = join(home, 'staging');
        const image = await openStackImage(caller, await openStack(caller, folder), { staging });
        expect(published).toBe(image.manifest.descriptor.digest);
      },
    );

    it('publishes the tag rev-NAME as :NAME, labelled with the commit', async () => {
      const { digest, told } = await hook({
        GITLAB_CI: 'true',
        CI_REGISTRY_IMAGE: `${registry.host}/group/stack`,
        CI_COMMIT_TAG: 'rev-2026.1',
        CI_COMMIT_SHA: 'abc123',
      });
      const image = await readImage(new RegistryRepository(registry.host, 'group/stack'), '2026.1');
      expect(image.descriptor.digest).toBe(digest);
      expect(image.config.config?.Labels).toMatchObject({ 'org.opencontainers.image.revision': 'abc123' });
      expect(told.at(-1)).toContain('8 of 8 layers');
    });
  },
);
