import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { has } from '@stackwright/testing';
import { afterAll, describe, expect, it } from 'vitest';

const path = (name: string) => fileURLToPath(new URL(`../../../${name}`, import.meta.url));
const script = path('docker/tutorial-image/hooks/build');
const bundled = path('apps/image-hook/bundle/stackwright-image-hook.mjs');
const home = mkdtempSync(join(tmpdir(), 'build-hook-'));
afterAll(() => rmSync(home, { recursive: true, force: true }));

/** Runs the script as DockerHub does, on a push of this branch. */
function run(env: NodeJS.ProcessEnv) {
  return spawnSync('/bin/sh', [script], {
    cwd: home,
    encoding: 'utf8',
    env: { HOME: home, PATH: process.env.PATH, DOCKER_REPO: 'me/stack', DOCKER_TAG: 'try', ...env },
  });
}

describe.skipIf(!has('curl', 'sha256sum'))(
  "DockerHub's build hook (skipped without curl and sha256sum: apt-get install curl coreutils)",
  () => {
    const file = join(home, 'hook.mjs');
    const url = pathToFileURL(file).href;
    const checksum = () => createHash('sha256').update(readFileSync(file)).digest('hex');

    it('runs the file that the checksum names, with the stack', () => {
      writeFileSync(file, 'console.log(process.argv[2])');
      const { status, stdout } = run({
        HOOK_URL: url,
        HOOK_SHA256: checksum(),
        DOCKERFILE_PATH: 'my/Dockerfile',
      });
      expect([status, stdout]).toEqual([0, 'my\n']);
      expect(run({ HOOK_URL: url, HOOK_SHA256: checksum(), STACK: 'other' }).stdout).toBe('other\n');
    });

    it('runs no other file', () => {
      writeFileSync(file, 'console.log("started")');
      const { status, stdout, stderr } = run({ HOOK_URL: url, HOOK_SHA256: '0'.repeat(64) });
      expect([status, stdout]).toEqual([2, '']);
      expect(stderr).toContain('not the file that HOOK_SHA256 names');
      for (const env of [{}, { HOOK_URL: url }]) expect(run(env).status).toBe(2);
    });

    it('fails as the hook fails', () => {
      writeFileSync(file, 'process.exitCode = 3');
      expect(run({ HOOK_URL: url, HOOK_SHA256: checksum() }).status).toBe(3);
    });

    it.skipIf(!existsSync(bundled))('builds and checks a branch, and leaves nothing behind', () => {
      const temporary = join(home, 'tmp');
      mkdirSync(temporary);
      const stack = join(home, 'stack');
      symlinkSync(path('stacks/quickstart'), stack);
      const { status, stderr } = run({
        HOOK_URL: pathToFileURL(bundled).href,
        HOOK_SHA256: createHash('sha256').update(readFileSync(bundled)).digest('hex'),
        SOURCE_BRANCH: 'try',
        STACK: stack,
        TMPDIR: temporary,
      });
      expect([status, stderr]).toEqual([0, expect.stringContaining('not published: try publishes nothing')]);
      expect(spawnSync('ls', ['-A', temporary], { encoding: 'utf8' }).stdout).toBe('');
    });
  },
);
