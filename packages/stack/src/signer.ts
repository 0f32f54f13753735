import { lstat, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import {
  createKey,
  formatPublicKey,
  formatSigningKey,
  GpgSigner,
  KeySigner,
  readSecretKey,
  type Signer,
} from '@stackwright/buildcache';
import type { Caller } from './caller.js';
import { StackError } from './error.js';
import { childEnvironment } from './secrets.js';
import type { WorkFolder } from './work.js';

/** Where a signing key comes from, before `SPACK_SIGNING_KEY`. */
export interface SignerOptions {
  /** File of a secret key, relative to where the caller is. */
  readonly key?: string;
  /** User id of a key of the gpg program. */
  readonly gpg?: string;
}

/** A secret key as it is kept in memory. */
export type SigningKey = Awaited<ReturnType<typeof readSecretKey>>;

/**
 * The one reading of a signing key: from `file`, else from `SPACK_SIGNING_KEY`, unlocked by
 * `SPACK_SIGNING_KEY_PASSPHRASE`.
 * @returns undefined when neither is there
 * @throws BuildcacheError for what is no secret key, or a passphrase that does not fit
 */
export async function readSigningKey(
  { env, cwd }: Pick<Caller, 'env' | 'cwd'>,
  file?: string,
): Promise<SigningKey | undefined> {
  const { SPACK_SIGNING_KEY: given, SPACK_SIGNING_KEY_PASSPHRASE: passphrase } = env;
  if (file !== undefined) return readSecretKey(await readFile(resolve(cwd, file), 'utf8'), passphrase, file);
  return given ? readSecretKey(given, passphrase, 'SPACK_SIGNING_KEY') : undefined;
}

/** The one rule for what is signed with: `--gpg`, `--key`, `SPACK_SIGNING_KEY`; undefined when none is given. */
export async function findSigner(caller: Caller, options: SignerOptions = {}): Promise<Signer | undefined> {
  if (options.gpg !== undefined) {
    return GpgSigner.find(options.gpg, {
      env: childEnvironment(caller.env),
      signal: caller.signal,
    });
  }
  const key = await readSigningKey(caller, options.key);
  return key && new KeySigner(key);
}

/** Like `findSigner`, for work that cannot be done without. @param instead how to do without a key */
export async function requireSigner(
  caller: Caller,
  options: SignerOptions = {},
  instead = '',
): Promise<Signer> {
  const signer = await findSigner(caller, options);
  if (signer) return signer;
  throw new StackError('no-signing-key', 'There is no key to sign with.', {
    hint: `Set SPACK_SIGNING_KEY (stackwright key create makes one), or give --key FILE or --gpg USER.${instead && ` ${instead}`}`,
  });
}

/**
 * The key that an earlier run made for this work folder.
 * @throws StackError for one that others can read: we make none like that, but a checkout does, and whoever committed a
 *   key would be trusted with everything that is built here
 */
export async function runSigner(work: WorkFolder): Promise<Signer | undefined> {
  const file = keyFile(work);
  const found = await lstat(file).catch(() => undefined);
  if (!found) return undefined;
  if (!found.isFile() || (found.mode & 0o077) !== 0) {
    throw new StackError(
      'key-file',
      `${file} is not used: other users can read this key, or it came with a checkout.`,
      {
        hint: 'Delete it; the next run makes a new one.',
        file,
      },
    );
  }
  return new KeySigner(await readSecretKey(await readFile(file, 'utf8'), undefined, file));
}

/**
 * Makes a signing key for the runs in this work folder. Only its owner can read it; the public half, for Spack and for
 * `--trust`, lies beside it.
 */
export async function createRunSigner(work: WorkFolder): Promise<Signer> {
  const key = await createKey({ name: 'Stackwright local run', comment: 'only for this work folder' });
  const file = keyFile(work);
  await mkdir(work.keys, { recursive: true, mode: 0o700 });
  await writeFile(publicKeyFile(work), formatPublicKey(key));
  await writeFile(`${file}.part`, formatSigningKey(key), { mode: 0o600 });
  await rename(`${file}.part`, file);
  return new KeySigner(key);
}

/** Writes a signer's public key where Spack can be given it. */
export async function writePublicKey(signer: Signer, work: WorkFolder): Promise<string> {
  await mkdir(work.keys, { recursive: true, mode: 0o700 });
  await writeFile(publicKeyFile(work), await signer.publicKey());
  return publicKeyFile(work);
}

function keyFile(work: WorkFolder): string {
  return join(work.keys, 'signing-key');
}

function publicKeyFile(work: WorkFolder): string {
  return join(work.keys, 'signing-key.pub');
}
