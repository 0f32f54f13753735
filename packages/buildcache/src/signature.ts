import type { CleartextMessage, PrivateKey, PublicKey } from 'openpgp';
import { BuildcacheError } from './error.js';
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
        'input',
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
  if (!start || end < start.index) throw wrong(where, '', 'it is no whole clear-signed text');
  return text.slice(start.index + start[0].length, end).replace(/^- /gm, '');
}

/**
 * Verifies a clear-signed text and returns what was signed, and by whom.
 * @throws BuildcacheError `signature-missing`, `-untrusted`, `-expired`, `-wrong`
 */
export async function verifySigned(
  text: string,
  trust: Trust,
  where: string,
  options: VerifyOptions = {},
): Promise<{ text: string; fingerprint: string }> {
  if (!isSigned(text)) {
    throw new BuildcacheError('input', 'signature-missing', `${where} is not signed.`, {
      key: where,
      hint: 'Sign it (stackwright mirror sign), or allow unsigned packages (--unsigned).',
    });
  }
  const message = await readSigned(text, where);
  const date = options.date ?? new Date();
  const { verify } = await openpgp();
  const { signatures, data } = await verify({
    message,
    verificationKeys: [...trust.keys],
    date,
  });
  let reason: BuildcacheError | undefined;
  for (const one of signatures) {
    const keyId = one.keyID.toHex().toUpperCase();
    const key = trust.keys.find((candidate) => candidate.getKeys(one.keyID).length > 0);
    if (!key) {
      reason ??= untrusted(where, keyId, trust);
      continue;
    }
    const fingerprint = fingerprintOf(key);
    try {
      await one.verified;
    } catch (error) {
      const { message: why } = error as Error;
      reason = /expired/i.test(why)
        ? expired(where, fingerprint, 'the signature or its key has expired')
        : wrong(where, fingerprint, why);
      continue;
    }
    const until = await key.getExpirationTime();
    if (!options.expiredKeys && until instanceof Date && until < date) {
      reason = expired(where, fingerprint, `its key expired on ${until.toISOString().slice(0, 10)}`);
      continue;
    }
    return { text: data as string, fingerprint };
  }
  throw reason ?? wrong(where, '', 'it holds no signature');
}

async function readSigned(text: string, where: string): Promise<CleartextMessage> {
  const { readCleartextMessage } = await openpgp();
  try {
    return await readCleartextMessage({ cleartextMessage: text });
  } catch (error) {
    throw wrong(where, '', (error as Error).message, error);
  }
}

function untrusted(where: string, keyId: string, trust: Trust): BuildcacheError {
  const known = trust.keys.length;
  return new BuildcacheError(
    'input',
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

function expired(where: string, fingerprint: string, why: string): BuildcacheError {
  return new BuildcacheError(
    'input',
    'signature-expired',
    `${where}: ${why} (key ${fingerprint.slice(-16)}).`,
    {
      key: where,
      fingerprint,
      hint: 'Sign it again, or get the key with a later expiry.',
    },
  );
}

function wrong(where: string, fingerprint: string, why: string, cause?: unknown): BuildcacheError {
  return new BuildcacheError(
    'input',
    'signature-wrong',
    `${where}: the signature does not match: ${why.replace(/\.$/, '')}.`,
    {
      key: where,
      fingerprint,
      hint: 'The manifest was changed after it was signed: push the package again.',
    },
    { cause },
  );
}
