import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  createCleartextMessage,
  enums,
  generateKey,
  type PrivateKey,
  type PublicKey,
  readKey,
  reformatKey,
  revokeKey,
  type SubkeyOptions,
  sign,
} from 'openpgp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  fingerprintOf,
  GpgSigner,
  KeySigner,
  readPublicKeys,
  readSecretKey,
  Trust,
  verifySigned,
} from '../index.js';
import { removeTemporaryFolders, temporaryFolder } from '../testing.js';

const manifest = '{\n"version":3,\n"data":[\n]\n}';
const day = 86_400;
const ago = (days: number) => new Date(Date.now() - days * day * 1000);
const missing = (() => {
  try {
    execFileSync('gpg', ['--version'], { stdio: 'ignore' });
    return undefined;
  } catch {
    return 'needs gpg: apt-get install gnupg';
  }
})();
afterAll(removeTemporaryFolders);

interface KeyOptions {
  readonly created?: Date;
  /** Seconds. */
  readonly expires?: number;
  readonly rsa?: number;
  readonly subkeys?: SubkeyOptions[];
}
/** Nothing that OpenPGP.js would refuse to make is refused. */
const lax = {
  minRSABits: 512,
  rejectCurves: new Set<never>(),
  rejectHashAlgorithms: new Set<never>(),
  rejectMessageHashAlgorithms: new Set<never>(),
  rejectPublicKeyAlgorithms: new Set<never>(),
};

async function keyOf({ created, expires, rsa, subkeys }: KeyOptions = {}): Promise<PrivateKey> {
  const shared = {
    userIDs: [{ name: 'Tester' }],
    date: created ?? ago(100),
    keyExpirationTime: expires ?? 0,
    format: 'object' as const,
    subkeys: subkeys ?? [],
    config: lax,
  };
  const { privateKey } = rsa
    ? await generateKey({ ...shared, type: 'rsa', rsaBits: rsa })
    : await generateKey({ ...shared, type: 'ecc', curve: 'ed25519Legacy' });
  return privateKey;
}

async function signed(key: PrivateKey, date = ago(50)): Promise<string> {
  return sign({
    message: await createCleartextMessage({ text: manifest }),
    signingKeys: key,
    date,
    config: lax,
  });
}

async function revoked(key: PrivateKey, flag: enums.reasonForRevocation): Promise<PublicKey> {
  const { publicKey } = await revokeKey({ key, reasonForRevocation: { flag }, format: 'object' });
  return publicKey;
}

const verdict = (text: string, keys: readonly PublicKey[], options = {}) =>
  verifySigned(text, new Trust(keys), 'hello', options).then(
    ({ fingerprint }) => fingerprint,
    (error: { code: string }) => error.code,
  );

describe('a signature that does not count', () => {
  const cases: Record<string, [code: string, () => Promise<[text: string, key: PublicKey]>]> = {
    'of a key that has expired since': [
      'key-expired',
      async () => {
        const key = await keyOf({ expires: 60 * day });
        return [await signed(key), key.toPublic()];
      },
    ],
    'of a key that had expired before': [
      'key-expired',
      async () => {
        const key = await keyOf();
        const { privateKey } = await reformatKey({
          privateKey: key,
          userIDs: [{ name: 'Tester' }],
          keyExpirationTime: 10 * day,
          date: ago(100),
          format: 'object',
        });
        return [await signed(key), privateKey.toPublic()];
      },
    ],
    'of a subkey that has expired since': [
      'key-expired',
      async () => {
        const key = await keyOf({ subkeys: [{ sign: true, type: 'ecc', curve: 'ed25519Legacy' }] });
        const short = await keyOf({
          subkeys: [{ sign: true, type: 'ecc', curve: 'ed25519Legacy', keyExpirationTime: 60 * day }],
        });
        expect(await verdict(await signed(key), [key.toPublic()])).toBe(fingerprintOf(key));
        return [await signed(short), short.toPublic()];
      },
    ],
    'of a key that was compromised': [
      'key-revoked',
      async () => {
        const key = await keyOf();
        return [await signed(key), await revoked(key, enums.reasonForRevocation.keyCompromised)];
      },
    ],
    'of a key that was retired after it had signed': [
      'key-revoked',
      async () => {
        const key = await keyOf();
        return [await signed(key), await revoked(key, enums.reasonForRevocation.keyRetired)];
      },
    ],
    'of a subkey that was revoked': [
      'key-revoked',
      async () => {
        const key = await keyOf({ subkeys: [{ sign: true, type: 'ecc', curve: 'ed25519Legacy' }] });
        const text = await signed(key);
        const packet = key.keyPacket as Parameters<(typeof key.subkeys)[0]['revoke']>[0];
        key.subkeys[0] = await key.subkeys[0]!.revoke(packet, {
          flag: enums.reasonForRevocation.keySuperseded,
        });
        return [text, await readKey({ armoredKey: key.toPublic().armor() })];
      },
    ],
    'of a key of 1,024 bits': [
      'signature-weak',
      async () => {
        const key = await keyOf({ rsa: 1024 });
        return [await signed(key), key.toPublic()];
      },
    ],
    'from the future': [
      'signature-wrong',
      async () => {
        const key = await keyOf();
        return [await signed(key, ago(-2)), key.toPublic()];
      },
    ],
    'over another text': [
      'signature-wrong',
      async () => {
        const key = await keyOf();
        return [(await signed(key)).replace('"version":3', '"version":4'), key.toPublic()];
      },
    ],
    'of another key': [
      'signature-untrusted',
      async () => [await signed(await keyOf()), (await keyOf()).toPublic()],
    ],
    'that is not there': ['signature-missing', async () => [manifest, (await keyOf()).toPublic()]],
  };

  it.each(Object.entries(cases))('%s', async (_, [code, make]) => {
    const [text, key] = await make();
    expect(await verdict(text, [key])).toBe(code);
  });

  it('of an expired key does when asked, but not of one that had expired before', async () => {
    const since = await cases['of a key that has expired since']![1]();
    expect(await verdict(since[0], [since[1]], { expiredKeys: true })).toBe(fingerprintOf(since[1]));
    const before = await cases['of a key that had expired before']![1]();
    expect(await verdict(before[0], [before[1]], { expiredKeys: true })).toBe('key-expired');
  });

  it('by a clock that is a little ahead does', async () => {
    const key = await keyOf();
    expect(await verdict(await signed(key, new Date(Date.now() + 60_000)), [key.toPublic()])).toBe(
      fingerprintOf(key),
    );
  });
});

describe.skipIf(missing)(`gpg and we (${missing ?? 'gpg on PATH'})`, () => {
  let env: NodeJS.ProcessEnv;
  const gpg = (args: readonly string[], input = '') =>
    execFileSync('gpg', ['--batch', '--pinentry-mode', 'loopback', '--passphrase', '', ...args], {
      env,
      input,
      stdio: ['pipe', 'pipe', 'ignore'],
    }).toString();
  const made = (name: string, ...how: string[]) => {
    gpg(['--quick-gen-key', name, ...how]);
    return /^fpr:+([0-9A-F]{40}):/m.exec(gpg(['--with-colons', '--list-keys', name]))![1]!;
  };
  const publicKey = async (fingerprint: string) =>
    (await readPublicKeys(gpg(['--armor', '--export', fingerprint]), 'gpg'))[0]!;
  /** Throws unless gpg finds the signature good. */
  const check = (text: string) => gpg(['--verify'], text);

  beforeAll(() => {
    const home = join(temporaryFolder(), 'gpg');
    mkdirSync(home, { mode: 0o700 });
    writeFileSync(join(home, 'gpg.conf'), 'trust-model always\n');
    env = { PATH: process.env['PATH'], GNUPGHOME: home };
  });
  afterAll(() => {
    execFileSync('gpgconf', ['--kill', 'all'], { env, stdio: 'ignore' });
  });

  it.each([
    ['EdDSA', 'ed25519'],
    ['RSA', 'rsa2048'],
  ])('accept each other’s signatures with %s', async (name, algorithm) => {
    const fingerprint = made(name, algorithm, 'sign', 'never');
    const key = await publicKey(fingerprint);
    expect(await verdict(gpg(['--clear-sign', '-u', fingerprint], manifest), [key])).toBe(fingerprint);
    const secret =
      gpg(['--armor', '--export', fingerprint]) + gpg(['--armor', '--export-secret-keys', fingerprint]);
    const given = Buffer.from(secret).toString('base64');
    const signer = new KeySigner(await readSecretKey(given, undefined, 'SPACK_SIGNING_KEY'));
    const text = await signer.sign(manifest);
    check(text);
    expect(text).toContain('Hash: SHA512');
    expect(() => check(text.replace('"version":3', '"version":4'))).toThrow();
  });

  it('sign with a subkey whose primary key is not there', async () => {
    const fingerprint = made('Offline', 'ed25519', 'cert', 'never');
    gpg(['--quick-add-key', fingerprint, 'ed25519', 'sign', 'never']);
    const key = await publicKey(fingerprint);
    expect(await verdict(gpg(['--clear-sign', '-u', fingerprint], manifest), [key])).toBe(fingerprint);
    const secret = gpg(['--armor', '--export-secret-subkeys', fingerprint]);
    const signer = new KeySigner(await readSecretKey(secret, undefined, 'a file'));
    expect(signer.fingerprint).toBe(fingerprint);
    const text = await signer.sign(manifest);
    check(text);
    expect(await verdict(text, [key])).toBe(fingerprint);
  });

  it('take a text that several have signed when one of them is trusted', async () => {
    const [one, two] = [made('One', 'ed25519', 'sign', 'never'), made('Two', 'ed25519', 'sign', 'never')];
    const text = gpg(['--clear-sign', '-u', one, '-u', two], manifest);
    expect(await verdict(text, [await publicKey(one)])).toBe(one);
    expect(await verdict(text, [await publicKey(two)])).toBe(two);
  });

  it('take what a key signed whose expiry was put off since', async () => {
    const fingerprint = made('Longer', 'ed25519', 'sign', '1d');
    const text = gpg(['--clear-sign', '-u', fingerprint], manifest);
    // gpg puts a new self-signature, younger than the text's, in the place of the old one.
    gpg([
      '--faked-system-time',
      `${Math.floor(Date.now() / 1000) + 50}!`,
      '--quick-set-expire',
      fingerprint,
      '3d',
    ]);
    const key = await publicKey(fingerprint);
    expect(await verdict(text, [key], { date: ago(-2) })).toBe(fingerprint);
    expect(await verdict(text, [key], { date: ago(-5) })).toBe('key-expired');
  });

  it('refuse a signature that has expired', async () => {
    const fingerprint = made('Brief', 'ed25519', 'sign', 'never');
    const later = `${Math.floor(Date.now() / 1000) + 100}!`;
    const text = gpg(['--clear-sign', '-u', fingerprint, '--default-sig-expire', 'seconds=30'], manifest);
    const key = await publicKey(fingerprint);
    expect(await verdict(text, [key])).toBe(fingerprint);
    expect(await verdict(text, [key], { date: new Date(Date.now() + 100_000) })).toBe('signature-expired');
    expect(() => gpg(['--faked-system-time', later, '--verify'], text)).toThrow();
  });

  it.each([
    ['DSA', 'dsa2048', 'SHA512', 'signature-weak'],
    ['SHA-1', 'rsa2048', 'SHA1', 'signature-weak'],
    ['a curve that we do not know', 'secp256k1', 'SHA512', 'signature-unsupported'],
  ])('refuse %s', async (name, algorithm, digest, code) => {
    const fingerprint = made(`Uses ${name}`, algorithm, 'sign', 'never');
    const text = gpg(['--clear-sign', '--digest-algo', digest, '-u', fingerprint], manifest);
    check(text);
    expect(await verdict(text, [await publicKey(fingerprint)])).toBe(code);
  });

  it('refuse a key that is not meant for signing any more', async () => {
    const fingerprint = made('Notary', 'ed25519', 'sign,cert', 'never');
    const text = gpg(['--clear-sign', '-u', fingerprint], manifest);
    gpg(['--command-fd', '0', '--edit-key', fingerprint], 'change-usage\nS\nQ\nsave\n');
    expect(await verdict(text, [await publicKey(fingerprint)])).toBe('key-usage');
  });

  it('sign with an agent’s key, and without secrets in the child’s environment', async () => {
    const fingerprint = made('Agent', 'ed25519', 'sign', 'never');
    const folder = temporaryFolder();
    const program = join(folder, 'gpg-that-tells');
    writeFileSync(program, `#!/bin/sh\nenv > ${folder}/env\nexec gpg "$@"\n`, { mode: 0o755 });
    const secrets = { SPACK_SIGNING_KEY: 'very-secret', SPACK_SIGNING_KEY_PASSPHRASE: 'also-secret' };
    const signer = await GpgSigner.find('Agent', { program, env: { ...env, ...secrets } });
    expect(signer.fingerprint).toBe(fingerprint);
    const text = await signer.sign(manifest);
    check(text);
    expect(await verdict(text, [await publicKey(fingerprint)])).toBe(fingerprint);
    expect(readFileSync(join(folder, 'env'), 'utf8')).not.toMatch(/secret/);
    await expect(GpgSigner.find('Nobody', { env })).rejects.toMatchObject({ code: 'gpg' });
  });
});

it('a key that cannot sign says so, and which it is', async () => {
  const expired = await keyOf({ expires: day });
  await expect(new KeySigner(expired).sign(manifest)).rejects.toMatchObject({
    code: 'key',
    message: expect.stringContaining(fingerprintOf(expired)),
  });
});
