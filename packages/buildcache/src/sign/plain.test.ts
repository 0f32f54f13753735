import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { has } from '@stackwright/testing';
import { afterAll, describe, expect, it } from 'vitest';
import { createKey } from './key.js';
import { pemOf, plainlySignedBy, plainSigner } from './plain.js';
import { Trust } from './signature.js';

const folder = mkdtempSync(join(tmpdir(), 'plain-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const bytes = Buffer.from('what is signed');

describe('plain signatures', () => {
  it.each(['ed25519', 'rsa3072'] as const)(
    'are made by an OpenPGP key and known by it: %s',
    async (algorithm) => {
      const key = await createKey({ name: 'A', algorithm });
      const other = await createKey({ name: 'B' });
      const signature = (await plainSigner(key)).sign(bytes);
      const trust = new Trust([other.toPublic(), key.toPublic()]);
      expect(await plainlySignedBy(bytes, signature, trust)).toBe(key.getFingerprint().toUpperCase());
      expect(await plainlySignedBy(Buffer.from('another'), signature, trust)).toBeUndefined();
      expect(await plainlySignedBy(bytes, signature, new Trust([other.toPublic()]))).toBeUndefined();
    },
  );

  it.skipIf(!has('openssl'))('are known by OpenSSL (skipped: apt-get install openssl)', async () => {
    const key = await createKey({ name: 'A', algorithm: 'rsa3072' });
    const at = (name: string, content: string | Buffer) => {
      writeFileSync(join(folder, name), content);
      return join(folder, name);
    };
    const [pem, signature] = [at('pem', pemOf(key)), at('sig', (await plainSigner(key)).sign(bytes))];
    const args = ['dgst', '-sha256', '-verify', pem, '-signature', signature, at('bytes', bytes)];
    expect(execFileSync('openssl', args, { encoding: 'utf8' })).toBe('Verified OK\n');
  });

  it('of a key that has expired do not count', async () => {
    const key = await createKey({ name: 'A', expires: 1 });
    const signature = (await plainSigner(key)).sign(bytes);
    await new Promise((done) => setTimeout(done, 2100));
    await expect(plainlySignedBy(bytes, signature, new Trust([key]))).rejects.toMatchObject({ code: 'key' });
    await expect(plainSigner(key)).rejects.toMatchObject({ code: 'key' });
  });
});
