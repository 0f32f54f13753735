import {
  createPrivateKey,
  createPublicKey,
  type JsonWebKey,
  type KeyObject,
  sign,
  verify,
} from 'node:crypto';
import type { PrivateKey, PublicKey } from 'openpgp';
import { BuildcacheError } from '../error.js';
import { fingerprintOf } from './key.js';
import type { Trust } from './signature.js';

/**
 * Signs bytes without OpenPGP around them, for programs that know no OpenPGP: Ed25519 (RFC 8032), or RSA with PKCS #1 v1.5
 * and SHA-256. The key is the OpenPGP key itself, so that who trusts one trusts the other.
 */
export interface PlainSigner {
  /** Of the OpenPGP key, 40 hexadecimal digits, upper case. */
  readonly fingerprint: string;
  sign(bytes: Uint8Array): Buffer;
}

/** The part of an OpenPGP key packet that the algorithms share (RFC 9580, 5.5.2 and 5.5.3). */
interface KeyPacket {
  readonly publicParams: Readonly<Record<string, unknown>>;
  readonly privateParams?: Readonly<Record<string, unknown>> | null;
}

/** @throws BuildcacheError `key` for a key of another kind, and for one that has expired or may not sign */
export async function plainSigner(key: PrivateKey): Promise<PlainSigner> {
  const fingerprint = fingerprintOf(key);
  await checkValid(key);
  const secret = createPrivateKey({ key: jwkOf(key), format: 'jwk' });
  return { fingerprint, sign: (bytes) => sign(digestOf(secret), bytes, secret) };
}

/** The fingerprint of the trusted key that made a plain signature of bytes; undefined where none did. */
export async function plainlySignedBy(
  bytes: Uint8Array,
  signature: Uint8Array,
  { keys }: Trust,
): Promise<string | undefined> {
  for (const key of keys) {
    const known = isPlain(key) ? createPublicKey({ key: jwkOf(key), format: 'jwk' }) : undefined;
    if (!known || !verify(digestOf(known), bytes, known, signature)) continue;
    await checkValid(key);
    return fingerprintOf(key);
  }
  return undefined;
}

/** A public key in the form that OpenSSL and cosign read: SubjectPublicKeyInfo as PEM. @throws BuildcacheError `key` */
export function pemOf(key: PublicKey | PrivateKey): string {
  const spki = createPublicKey({ key: jwkOf(key.toPublic()), format: 'jwk' });
  return spki.export({ type: 'spki', format: 'pem' }).toString();
}

async function checkValid(key: PublicKey | PrivateKey): Promise<void> {
  try {
    await key.verifyPrimaryKey();
  } catch (error) {
    const fingerprint = fingerprintOf(key);
    throw new BuildcacheError(
      'key',
      `Key ${fingerprint} does not count: ${(error as Error).message}.`,
      { fingerprint, hint: 'It may have expired or been revoked.' },
      { cause: error },
    );
  }
}

function digestOf({ asymmetricKeyType }: KeyObject): 'sha256' | null {
  return asymmetricKeyType === 'rsa' ? 'sha256' : null;
}

function isPlain({ keyPacket }: PublicKey): boolean {
  const { publicParams } = keyPacket as unknown as KeyPacket;
  return pointOf(publicParams) !== undefined || publicParams.n instanceof Uint8Array;
}

/** The point of an Ed25519 key, in the packet's old form (behind an octet 0x40) or its new one. */
function pointOf({ Q, A, oid }: KeyPacket['publicParams']): Uint8Array | undefined {
  if (A instanceof Uint8Array && A.length === 32) return A;
  // Curves of ECDSA have an oid and longer points.
  return oid !== undefined && Q instanceof Uint8Array && Q.length === 33 && Q[0] === 0x40
    ? Q.subarray(1)
    : undefined;
}

function jwkOf(key: PublicKey | PrivateKey): JsonWebKey {
  const { publicParams, privateParams } = key.keyPacket as unknown as KeyPacket;
  const text = (value: unknown) => Buffer.from(value as Uint8Array).toString('base64url');
  const point = pointOf(publicParams);
  if (point) {
    const d = key.isPrivate() && privateParams ? text(privateParams.seed) : undefined;
    return { kty: 'OKP', crv: 'Ed25519', x: text(point), ...(d === undefined ? {} : { d }) };
  }
  if (publicParams.n instanceof Uint8Array) {
    const { n, e } = publicParams;
    const open = { kty: 'RSA', n: text(n), e: text(e) };
    return key.isPrivate() && privateParams ? { ...open, ...rsaSecrets(privateParams) } : open;
  }
  const fingerprint = fingerprintOf(key);
  throw new BuildcacheError(
    'key',
    `Key ${fingerprint} is neither Ed25519 nor RSA, and cannot sign without OpenPGP.`,
    {
      fingerprint,
      hint: 'Make another with: stackwright key create',
    },
  );
}

/** OpenPGP has u, the inverse of p modulo q; a JWK the inverse of q modulo p: with p and q exchanged it is the same. */
function rsaSecrets({ d, p, q, u }: Readonly<Record<string, unknown>>): JsonWebKey {
  const number = (value: unknown) => BigInt(`0x${Buffer.from(value as Uint8Array).toString('hex')}`);
  const text = (value: bigint) => {
    const hex = value.toString(16);
    return Buffer.from(hex.length % 2 ? `0${hex}` : hex, 'hex').toString('base64url');
  };
  const [exponent, first, second] = [number(d), number(q), number(p)];
  return {
    d: text(exponent),
    p: text(first),
    q: text(second),
    dp: text(exponent % (first - 1n)),
    dq: text(exponent % (second - 1n)),
    qi: text(number(u)),
  };
}
