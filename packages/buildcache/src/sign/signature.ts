import type { CleartextMessage, PrivateKey, PublicKey, VerifyMessageResult } from 'openpgp';
import { BuildcacheError } from '../error.js';
import { fingerprintOf, openpgp } from './key.js';

/** Clear-signs texts. An OpenPGP key in memory and an outside program both answer this. */
export interface Signer {
  /** Of the key that signs, 40 hexadecimal digits, upper case. */
  readonly fingerprint: string;
  /** The armored public key, for the mirror's key folder. */
  publicKey(): Promise<string>;
  /** Clear-signs with SHA-512, as `gpg --clearsign` does. */
  sign(text: string, signal?: AbortSignal): Promise<string>;
}

/** Signs in this process with a key that is only in memory. */
export class KeySigner implements Signer {
  readonly fingerprint: string;

  constructor(private readonly key: PrivateKey) {
    this.fingerprint = fingerprintOf(key);
  }

  async publicKey(): Promise<string> {
    return this.key.toPublic().armor().replaceAll('\r\n', '\n');
  }

  async sign(text: string): Promise<string> {
    const { createCleartextMessage, enums, sign } = await openpgp();
    try {
      const message = await createCleartextMessage({ text });
      const signed = await sign({
        message,
        signingKeys: this.key,
        config: { preferredHashAlgorithm: enums.hash.sha512, nonDeterministicSignaturesViaNotation: false },
      });
      return signed.replaceAll('\r\n', '\n');
    } catch (error) {
      throw new BuildcacheError(
        'key',
        `Key ${this.fingerprint} cannot sign: ${(error as Error).message}.`,
        {
          fingerprint: this.fingerprint,
          hint: 'It may have expired or been revoked, or may not be meant for signing.',
        },
        { cause: error },
      );
    }
  }
}

/** The keys whose signatures count. */
export class Trust {
  readonly keys: readonly PublicKey[];

  /** @param only fingerprints, whole or their last 16 digits and more; other keys are left out */
  constructor(keys: readonly PublicKey[], only?: readonly string[]) {
    const wanted = only?.map((one) => one.replace(/^0x|\s+/gi, '').toUpperCase());
    this.keys = wanted
      ? keys.filter((key) => wanted.some((one) => one.length >= 16 && fingerprintOf(key).endsWith(one)))
      : keys;
  }

  get fingerprints(): string[] {
    return this.keys.map(fingerprintOf);
  }
}

export interface VerifyOptions {
  /** Accept good signatures by keys that have expired since. */
  readonly expiredKeys?: boolean;
  readonly date?: Date;
}

const begin = '-----BEGIN PGP SIGNED MESSAGE-----';

/** Whether a manifest's text is clear-signed. */
export function isSigned(text: string): boolean {
  return text.startsWith(begin);
}

/** The signed text without looking at the signature; an unsigned text as it is. @throws BuildcacheError `signature-wrong` */
export function signedText(text: string, where: string): string {
  if (!isSigned(text)) return text;
  // RFC 9580, section 7: armor headers, an empty line, the text with lines that start with a dash escaped, the signature.
  const start = /\r?\n\r?\n/.exec(text);
  const end = text.indexOf('\n-----BEGIN PGP SIGNATURE-----');
  if (!start || end < start.index) throw refusal('wrong', where, '', 'it is no whole clear-signed text');
  return text.slice(start.index + start[0].length, end).replace(/^- /gm, '');
}

/** Seconds that the signer's clock may be ahead of ours. */
const clockSkew = 600;

/**
 * Verifies a clear-signed text and returns what was signed, and by whom. Of several signatures one that counts is enough.
 * A revoked key counts for nothing, whenever it signed: who has its secret can choose the time.
 * @throws BuildcacheError `signature-missing`, `-untrusted`, `-wrong`, `-expired`, `-weak`, `-unsupported`, `key-expired`,
 *   `key-revoked`, `key-usage`
 */
export async function verifySigned(
  text: string,
  trust: Trust,
  where: string,
  options: VerifyOptions = {},
): Promise<{ text: string; fingerprint: string }> {
  if (!isSigned(text)) {
    throw new BuildcacheError('signature-missing', `${where} is not signed.`, {
      key: where,
      hint: 'Sign it (stackwright mirror sign), or allow unsigned packages (--unsigned).',
    });
  }
  const message = await readSigned(text, where);
  const { verify } = await openpgp();
  const { signatures, data } = await verify({
    message,
    verificationKeys: [...trust.keys],
    // Without a date only what is signed is checked; times are looked at below, each with its own error.
    date: null as unknown as Date,
    // Whoever puts a key's expiry off with gpg replaces the self-signature, by one that is younger than what it signed.
    config: { allowInsecureVerificationWithReformattedKeys: true },
  });
  let reason: BuildcacheError | undefined;
  for (const one of signatures) {
    const key = trust.keys.find((candidate) => candidate.getKeys(one.keyID).length > 0);
    if (!key) {
      reason ??= untrusted(where, one.keyID.toHex().toUpperCase(), trust);
      continue;
    }
    const fingerprint = fingerprintOf(key);
    const refused = (await refusalOf(one, where, fingerprint)) ?? (await staleness(one, key, where, options));
    if (!refused) return { text: data as string, fingerprint };
    reason = refused;
  }
  throw reason ?? refusal('unsupported', where, '', 'it holds no signature that can be read');
}

/** Why a signature is not good, apart from times. */
async function refusalOf(
  one: VerificationResult,
  where: string,
  fingerprint: string,
): Promise<BuildcacheError | undefined> {
  try {
    await one.verified;
    return undefined;
  } catch (error) {
    const { message: why } = error as Error;
    const kind = kinds.find(([pattern]) => pattern.test(why))?.[1] ?? 'wrong';
    return refusal(kind, where, fingerprint, why, error);
  }
}

/** Why a good signature does not count now. */
async function staleness(
  one: VerificationResult,
  key: PublicKey,
  where: string,
  options: VerifyOptions,
): Promise<BuildcacheError | undefined> {
  const date = options.date ?? new Date();
  const fingerprint = fingerprintOf(key);
  const packet = (await one.signature).packets[0]!;
  const day = (time: Date) => time.toISOString().slice(0, 10);
  if (packet.created && packet.created.getTime() > date.getTime() + clockSkew * 1000)
    return refusal(
      'wrong',
      where,
      fingerprint,
      `it was made on ${day(packet.created)}, which is yet to come`,
    );
  const until = packet.getExpirationTime();
  if (until instanceof Date && until <= date)
    return refusal('expired', where, fingerprint, `it expired on ${day(until)}`);
  for (const part of [key, ...key.getSubkeys(one.keyID)]) {
    // Whichever of its signatures was revoked: the types ask for one.
    const any = undefined as never;
    if (await part.isRevoked(any, any, date))
      return refusal('key-revoked', where, fingerprint, 'it was revoked');
    const expiry = await part.getExpirationTime();
    if (!options.expiredKeys && expiry instanceof Date && expiry <= date)
      return refusal('key-expired', where, fingerprint, `it expired on ${day(expiry)}`);
  }
  return undefined;
}

async function readSigned(text: string, where: string): Promise<CleartextMessage> {
  const { readCleartextMessage } = await openpgp();
  try {
    return await readCleartextMessage({ cleartextMessage: text });
  } catch (error) {
    throw refusal('wrong', where, '', (error as Error).message, error);
  }
}

function untrusted(where: string, keyId: string, trust: Trust): BuildcacheError {
  const known = trust.keys.length;
  return new BuildcacheError(
    'signature-untrusted',
    `${where} is signed by key ${keyId}, which is not trusted.`,
    {
      key: where,
      fingerprint: keyId,
      hint:
        known === 0
          ? 'No key is trusted: give the public key with --trust FILE.'
          : 'Give its public key with --trust FILE if you know whose it is.',
    },
  );
}

type VerificationResult = VerifyMessageResult['signatures'][number];
type Refusal = 'wrong' | 'expired' | 'weak' | 'unsupported' | 'key-expired' | 'key-revoked' | 'key-usage';

/** What OpenPGP.js says, and what that means. */
const kinds: readonly (readonly [RegExp, Refusal])[] = [
  [/insecure|too weak/i, 'weak'],
  [/revoked/i, 'key-revoked'],
  [/expired/i, 'key-expired'],
  // A module that only rare curves need.
  [/unknown|support|disabled|cannot find module/i, 'unsupported'],
  [/valid signing key packet/i, 'key-usage'],
];

const wording: Record<Refusal, readonly [what: string, hint: string]> = {
  wrong: [
    'the signature does not match',
    'The manifest was changed after it was signed: push the package again.',
  ],
  expired: ['the signature does not count any more', 'Sign it again.'],
  weak: ['the signature is too weak', 'Sign it again with SHA-512 and a key of today.'],
  unsupported: ['the signature is of an unknown kind', 'Sign it again with an RSA or EdDSA key.'],
  'key-expired': [
    'the key that signed it does not count any more',
    'Sign it again, or get the key with a later expiry.',
  ],
  'key-revoked': ['the key that signed it does not count any more', 'Sign it again with another key.'],
  'key-usage': ['the key that signed it is not meant for signing', 'Sign it again with another key.'],
};

function refusal(
  kind: Refusal,
  where: string,
  fingerprint: string,
  why: string,
  cause?: unknown,
): BuildcacheError {
  const [what, hint] = wording[kind];
  const by = fingerprint === '' ? '' : ` (key ${fingerprint.slice(-16)})`;
  return new BuildcacheError(
    kind.startsWith('key-') ? (kind as 'key-expired') : (`signature-${kind}` as 'signature-wrong'),
    `${where}: ${what}: ${why.replace(/\.$/, '')}${by}.`,
    { key: where, fingerprint, hint },
    { cause },
  );
}
