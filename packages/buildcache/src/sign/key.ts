import type { PrivateKey, PublicKey } from 'openpgp';
import { BuildcacheError } from '../error.js';

/** A public key, as people tell it apart. */
export interface KeyInfo {
  /** 40 hexadecimal digits, upper case. */
  readonly fingerprint: string;
  readonly userIds: readonly string[];
  readonly algorithm: string;
  readonly created: Date;
  /** Undefined when it never expires. */
  readonly expires: Date | undefined;
  readonly secret: boolean;
}

const publicBlock = /-----BEGIN PGP PUBLIC KEY BLOCK-----[\s\S]*?-----END PGP PUBLIC KEY BLOCK-----/g;
const secretBlock = /-----BEGIN PGP PRIVATE KEY BLOCK-----[\s\S]*?-----END PGP PRIVATE KEY BLOCK-----/g;

/** Loaded when a key is at hand: most commands look at none, and it is large. */
export const openpgp = () => import('openpgp');

/** The fingerprint as gpg and Spack write it. */
export function fingerprintOf(key: PublicKey | PrivateKey): string {
  return key.getFingerprint().toUpperCase();
}

/** Every public key in armored text; secret blocks give their public halves. @throws BuildcacheError `key` */
export async function readPublicKeys(text: string, where: string): Promise<PublicKey[]> {
  const { readKeys, readPrivateKeys } = await openpgp();
  const keys: PublicKey[] = [];
  try {
    for (const [block] of text.matchAll(publicBlock)) {
      for (const key of await readKeys({ armoredKeys: block })) keys.push(key.toPublic());
    }
    for (const [block] of text.matchAll(secretBlock)) {
      for (const key of await readPrivateKeys({ armoredKeys: block })) keys.push(key.toPublic());
    }
  } catch (error) {
    throw new BuildcacheError('key', `${where} holds no readable OpenPGP key: ${(error as Error).message}.`);
  }
  if (keys.length === 0) {
    throw new BuildcacheError('key', `${where} holds no armored OpenPGP public key.`, {
      hint: 'Export one with: gpg --armor --export KEYID',
    });
  }
  const unique = new Map(keys.map((key) => [fingerprintOf(key), key]));
  return [...unique.values()];
}

/**
 * Reads a secret key: armored text, or what `SPACK_SIGNING_KEY` holds, base64 of an armored public block followed by an
 * armored secret block. The key stays in memory.
 * @throws BuildcacheError `key` for unreadable text, `passphrase` for a wrong or missing passphrase
 */
export async function readSecretKey(
  text: string,
  passphrase: string | undefined,
  where: string,
): Promise<PrivateKey> {
  const armored = text.includes('-----BEGIN PGP')
    ? text
    : Buffer.from(text.replace(/\s+/g, ''), 'base64').toString('utf8');
  const blocks = [...armored.matchAll(secretBlock)].map(([block]) => block);
  if (blocks.length === 0) {
    throw new BuildcacheError('key', `${where} holds no armored OpenPGP secret key.`, {
      hint: 'Make its value with: stackwright key export --secret',
    });
  }
  const { readPrivateKeys } = await openpgp();
  let keys: PrivateKey[];
  try {
    keys = (await Promise.all(blocks.map((armoredKeys) => readPrivateKeys({ armoredKeys })))).flat();
  } catch (error) {
    throw new BuildcacheError('key', `${where} holds no readable secret key: ${(error as Error).message}.`);
  }
  const key = keys[0];
  if (!key || keys.length > 1) {
    throw new BuildcacheError('key', `${where} holds ${keys.length} secret keys, expected one.`, {
      hint: 'Export only the key that signs.',
    });
  }
  return unlock(key, passphrase, where);
}

async function unlock(key: PrivateKey, passphrase: string | undefined, where: string): Promise<PrivateKey> {
  if (key.isDecrypted()) return key;
  if (!passphrase) {
    throw new BuildcacheError('passphrase-missing', `The key in ${where} needs a passphrase.`, {
      fingerprint: fingerprintOf(key),
      hint: 'Set SPACK_SIGNING_KEY_PASSPHRASE.',
    });
  }
  const { decryptKey } = await openpgp();
  try {
    return await decryptKey({ privateKey: key, passphrase });
  } catch (error) {
    throw new BuildcacheError(
      'passphrase',
      `The passphrase does not open the key in ${where}.`,
      {
        fingerprint: fingerprintOf(key),
      },
      { cause: error },
    );
  }
}

export interface NewKey {
  readonly name: string;
  readonly email?: string;
  readonly comment?: string;
  /** `ed25519` signs fast and small; `rsa4096` is what `spack gpg create` makes. */
  readonly algorithm?: 'ed25519' | 'rsa3072' | 'rsa4096';
  /** Seconds; 0 or left out: never. */
  readonly expires?: number;
  readonly passphrase?: string;
}

/** Makes a signing key. Nothing is written anywhere. */
export async function createKey(options: NewKey): Promise<PrivateKey> {
  const { algorithm = 'ed25519' } = options;
  const { generateKey } = await openpgp();
  const userIDs = [{ name: options.name, email: options.email, comment: options.comment }];
  const shared = {
    userIDs,
    passphrase: options.passphrase,
    keyExpirationTime: options.expires ?? 0,
    format: 'object' as const,
    // The primary key signs by itself, as in the keys that Spack makes.
    subkeys: [],
  };
  const { privateKey } =
    algorithm === 'ed25519'
      ? await generateKey({ ...shared, type: 'ecc', curve: 'ed25519Legacy' })
      : await generateKey({ ...shared, type: 'rsa', rsaBits: algorithm === 'rsa3072' ? 3072 : 4096 });
  return privateKey;
}

/** What `SPACK_SIGNING_KEY` takes: base64, on one line, of the armored public block followed by the secret one. */
export function formatSigningKey(key: PrivateKey): string {
  return Buffer.from(`${key.toPublic().armor().trim()}\n${key.armor().trim()}\n`, 'utf8').toString('base64');
}

/** The public half, armored, without a comment or version line. */
export function formatPublicKey(key: PublicKey | PrivateKey): string {
  return key.toPublic().armor().replaceAll('\r\n', '\n');
}

export async function describeKey(key: PublicKey | PrivateKey): Promise<KeyInfo> {
  const expiry = await key.getExpirationTime();
  const { algorithm, bits, curve } = key.getAlgorithmInfo() as {
    algorithm: string;
    bits?: number;
    curve?: string;
  };
  return {
    fingerprint: fingerprintOf(key),
    userIds: key.getUserIDs(),
    algorithm: bits ? `${algorithm} ${bits}` : (curve ?? algorithm),
    created: key.getCreationTime(),
    expires: expiry instanceof Date ? expiry : undefined,
    secret: key.isPrivate(),
  };
}

/** The names that an index of keys lists, whatever they are. @throws BuildcacheError `key` */
export function parseKeyIndex(text: string, where: string): string[] {
  try {
    const { keys } = JSON.parse(text) as { keys?: unknown };
    if (typeof keys === 'object' && keys !== null) return Object.keys(keys);
  } catch {}
  throw new BuildcacheError('key', `${where}: the index of keys is none.`, {
    key: where,
    hint: 'Write it anew with: stackwright mirror index --keys',
  });
}
