import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { has } from '@stackwright/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runHook } from '../src/index.js';

const home = mkdtempSync(join(tmpdir(), 'dockerfile-'));
const at = (...parts: string[]) => join(home, ...parts);
afterAll(() => rmSync(home, { recursive: true, force: true }));

const credentials = {
  AWS_ACCESS_KEY_ID: 'AKIASEARCHEDFOR00001',
  AWS_SECRET_ACCESS_KEY: 'searched-for-secret-00002',
  MIRROR_TOKEN: 'searched-for-token-00003',
};
const base: NodeJS.ProcessEnv = { PATH: process.env.PATH, HOME: home, TMPDIR: home, ...credentials };

function hook(env: NodeJS.ProcessEnv, over: Partial<Parameters<typeof runHook>[0]> = {}) {
  const options = { stack: '.', cwd: home, dockerfile: 'context/Dockerfile', secrets: ['MIRROR_TOKEN'] };
  return runHook({ ...options, env: { ...base, ...env }, tell: () => {}, ...over });
}

/** A root file system with this machine's shell, for a build to run in. */
function shellRoot(folder: string): void {
  const programs = ['/bin/sh', '/bin/cat'];
  const libraries = execFileSync('ldd', programs, { encoding: 'utf8' }).matchAll(/(?:=> |^\s+)(\/\S+)/gm);
  for (const path of new Set([...programs, ...[...libraries].map(([, file = '']) => file)])) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    cpSync(path, join(folder, path), { dereference: true });
  }
  mkdirSync(join(folder, 'tmp'));
}

/** Reads the credentials, and keeps how long they are. */
const dockerfile = `FROM scratch
COPY root /
ARG REMOTE_BUILDCACHE_URL
RUN --mount=type=secret,id=AWS_ACCESS_KEY_ID --mount=type=secret,id=AWS_SECRET_ACCESS_KEY --mount=type=secret,id=MIRROR_TOKEN \\
    id=$(cat /run/secrets/AWS_ACCESS_KEY_ID) key=$(cat /run/secrets/AWS_SECRET_ACCESS_KEY) token=$(cat /run/secrets/MIRROR_TOKEN); \\
    echo "$REMOTE_BUILDCACHE_URL \${#id} \${#key} \${#token}" > /seen
CMD ["/bin/cat", "/seen"]
`;

describe('the hook with a Dockerfile', () => {
  beforeAll(() => {
    mkdirSync(at('context'));
    writeFileSync(at('context/Dockerfile'), dockerfile);
    // Notes what it was called with, and does nothing.
    writeFileSync(
      at('noting'),
      `#!/bin/sh\n{ echo "$@"; env; } >> ${at('noted')}\nwhile [ "$1" != --iidfile ]; do shift; [ $# -gt 0 ] || exit 0; done\necho sha256:00 > "$2"\n`,
    );
    chmodSync(at('noting'), 0o755);
  });

  it('names and pushes by the same table as all images, and calls nothing with a credential', async () => {
    const env = {
      GITLAB_CI: 'true',
      CI_REGISTRY_IMAGE: 'r.example.org/p',
      CI_COMMIT_TAG: 'rev-7',
      REMOTE_BUILDCACHE_URL: 'tutorial s3://bucket/path',
    };
    expect(await hook(env, { builder: at('noting') })).toBe('sha256:00');
    const noted = readFileSync(at('noted'), 'utf8');
    expect(noted).toContain('--tag r.example.org/p:7');
    expect(noted).toContain('--build-arg REMOTE_BUILDCACHE_URL=s3://bucket/path ');
    expect(noted).toContain('push r.example.org/p:7');
    for (const secret of Object.values(credentials)) expect(noted).not.toContain(secret);
  });

  it('says what is missing', async () => {
    const builder = at('noting');
    await expect(hook({}, { builder, checkOnly: true })).rejects.toMatchObject({ code: 'no-mirror' });
    const env = { REMOTE_BUILDCACHE_URL: 's3://bucket' };
    const secrets = ['OTHER_TOKEN'];
    const done = hook(env, { builder, secrets, checkOnly: true });
    await expect(done).rejects.toMatchObject({ code: 'no-secret', message: /OTHER_TOKEN/ });
    const none = hook(env, { builder: at('none'), checkOnly: true });
    await expect(none).rejects.toMatchObject({ code: 'docker-missing' });
  });

  it.skipIf(!has('buildah') || process.getuid?.() !== 0)(
    'builds, and no layer and no history has a credential (skipped without buildah and root: apt-get install buildah)',
    async () => {
      shellRoot(at('context/root'));
      // Where this build keeps its images: not among the user's.
      const roots = `graphroot = "${at('storage')}"\nrunroot = "${at('running')}"\n`;
      writeFileSync(at('storage.conf'), `[storage]\ndriver = "vfs"\n${roots}`);
      const buildah = { CONTAINERS_STORAGE_CONF: at('storage.conf'), BUILDAH_ISOLATION: 'chroot' };
      const env = { ...buildah, REMOTE_BUILDCACHE_URL: 's3://bucket/path' };
      const image = await hook(env, { builder: 'buildah', checkOnly: true });
      const layout = at('layout');
      execFileSync('buildah', ['push', image.replace('sha256:', ''), `oci:${layout}:latest`], {
        env: { ...base, ...buildah },
        stdio: 'ignore',
      });
      const blobs = readdirSync(join(layout, 'blobs/sha256')).map((name) => {
        const bytes = readFileSync(join(layout, 'blobs/sha256', name));
        return (bytes[0] === 0x1f ? gunzipSync(bytes) : bytes).toString('latin1');
      });
      // The build did read them.
      expect(blobs.some((text) => text.includes('s3://bucket/path 20 25 24'))).toBe(true);
      for (const secret of Object.values(credentials))
        expect(blobs.filter((text) => text.includes(secret))).toEqual([]);
    },
  );
});
