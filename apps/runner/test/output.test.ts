import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { call } from './call.js';

const folder = mkdtempSync(join(tmpdir(), 'output-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const secret = 'hunter2-hunter2';
const env = { MY_TOKEN: secret, PATH: '/usr/bin:/bin', HOME: folder };

function stack(manifest: string): string {
  const at = mkdtempSync(join(folder, 'stack-'));
  writeFileSync(join(at, 'spack.yaml'), manifest);
  return at;
}

describe('what a command prints', () => {
  it('holds no secret of the environment: not in results, JSON or errors', async () => {
    const at = stack(`spack: {specs: [zlib], ${secret}: 1}\n`);
    for (const args of [
      ['check', at],
      ['check', at, '--json'],
      ['specs', at],
    ]) {
      const { code, stdout, stderr } = await call(args, { env });
      expect(code).toBe(2);
      expect(stdout + stderr).not.toContain(secret);
      expect(stdout + stderr).toContain('***');
    }
  });

  it('shows control sequences of foreign text instead of sending them', async () => {
    const at = stack('spack: {specs: [zlib], "\\e]0;owned\\a\\e[31m": 1}\n');
    const { stdout, stderr } = await call(['check', at], { env });
    expect(stdout + stderr).not.toMatch(/[\x1b\x07]/);
    expect(stdout).toContain('\\u001b]0;owned');
  });

  it('is the key itself for the one who exports it', async () => {
    mkdirSync(join(folder, 'keys'));
    const made = await call(['key', 'create', 'CI'], { env, cwd: folder });
    const given = { ...env, SPACK_SIGNING_KEY: made.stdout.trim() };
    expect((await call(['key', 'export', '--secret'], { env: given })).stdout.trim()).toBe(
      made.stdout.trim(),
    );
    const json = await call(['key', 'export', '--secret', '--json'], { env: given });
    expect(JSON.parse(json.stdout).signingKey).toBe(made.stdout.trim());
  });
});
