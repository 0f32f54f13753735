import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { RegistryRepository, readImage } from '@stackwright/oci';
import { openStack, openStackImage, silent } from '@stackwright/stack';
import { has, startRegistry } from '@stackwright/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runHook } from '../src/index.js';

const stack = fileURLToPath(new URL('../../../stacks/quickstart', import.meta.url));
const bundled = fileURLToPath(new URL('../bundle/stackwright-image-hook.mjs', import.meta.url));
const home = mkdtempSync(join(tmpdir(), 'hook-'));
afterAll(() => rmSync(home, { recursive: true, force: true }));

function hook(env: NodeJS.ProcessEnv) {
  const told: string[] = [];
  const done = runHook({ stack, cwd: home, env: { HOME: home, ...env }, tell: (line) => told.push(line) });
  return done.then((digest) => ({ digest, told }));
}

describe('the hook', () => {
  it('builds and checks for a push that publishes nothing', async () => {
    const { digest, told } = await hook({
      GITLAB_CI: 'true',
      CI_REGISTRY_IMAGE: 'r.example.org/p',
      CI_COMMIT_BRANCH: 'try',
      CI_DEFAULT_BRANCH: 'main',
    });
    expect(digest).toMatch(/^sha256:/);
    expect(told.at(-1)).toMatch(/Built and checked, not published: the branch try publishes nothing/);
  });

  it('reads the mirror of REMOTE_BUILDCACHE_URL, also with a name in front of it', async () => {
    const url = pathToFileURL(join(stack, 'mirror')).href;
    const ci = { GITLAB_CI: 'true', CI_REGISTRY_IMAGE: 'r.example.org/p', CI_COMMIT_BRANCH: 'try' };
    const [plain, named] = [
      await hook({ ...ci, REMOTE_BUILDCACHE_URL: url }),
      await hook({ ...ci, REMOTE_BUILDCACHE_URL: `quickstart ${url}` }),
    ];
    expect(named.digest).toBe(plain.digest);
    await expect(hook({ ...ci, REMOTE_BUILDCACHE_URL: `quickstart ${url}-none` })).rejects.toThrow(
      'mirror-none',
    );
  });

  it('refuses an image whose programs could not start, on any branch', async () => {
    const strict = join(home, 'strict');
    cpSync(stack, strict, { recursive: true });
    const file = join(strict, 'stackwright.yaml');
    writeFileSync(file, readFileSync(file, 'utf8').replace('check: false', 'check: true'));
    const done = runHook({ stack: strict, cwd: home, env: { HOME: home }, checkOnly: true, tell: () => {} });
    await expect(done).rejects.toMatchObject({ code: 'incomplete' });
  });
});

describe.skipIf(!existsSync(bundled))(
  'the hook in one file (skipped where it is not built: npm run build)',
  () => {
    it('works alone, and is what its checksum says', () => {
      const text = readFileSync(bundled);
      const checksum = createHash('sha256').update(text).digest('hex');
      expect(readFileSync(`${bundled}.sha256`, 'utf8')).toBe(`${checksum}  ${basename(bundled)}\n`);
      const alone = join(home, 'alone.mjs');
      cpSync(bundled, alone);
      const args = [alone, stack, '--repository', 'r.example.org/p', '--branch', 'try'];
      const run = (...more: string[]) =>
        spawnSync(process.execPath, [...args, ...more], { cwd: home, env: { HOME: home }, encoding: 'utf8' });
      const { status, stdout, stderr } = run();
      expect([status, stdout]).toEqual([0, expect.stringMatching(/^sha256:[0-9a-f]{64}\n$/)]);
      expect(stderr).toContain('Built and checked, not published');
      const wrong = spawnSync(process.execPath, [alone, stack, '--tag', 'rev-1'], { encoding: 'utf8' });
      expect([wrong.status, wrong.stderr]).toEqual([2, expect.stringContaining('belong together')]);
    });
  },
);

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
