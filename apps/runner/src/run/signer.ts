import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  createKey,
  formatPublicKey,
  formatSigningKey,
  KeySigner,
  readSecretKey,
  type Signer,
} from '@stackwright/buildcache';
import type { Context } from '../context.js';
import type { WorkFolder } from './work.js';

/**
 * The key that a run signs with: `SPACK_SIGNING_KEY`, else one that an earlier run here made for itself. Undefined when
 * there is neither.
 */
export async function findSigner(context: Context, work: WorkFolder): Promise<Signer | undefined> {
  const { SPACK_SIGNING_KEY: given, SPACK_SIGNING_KEY_PASSPHRASE: passphrase } = context.env;
  if (given) return new KeySigner(await readSecretKey(given, passphrase, 'SPACK_SIGNING_KEY'));
  const file = keyFile(work);
  const text = await readFile(file, 'utf8').catch(() => undefined);
  return text === undefined ? undefined : new KeySigner(await readSecretKey(text, undefined, file));
}

/**
 * Makes a signing key for the runs in this work folder. Only its owner can read it; the public half, for Spack and for
 * `--trust`, lies beside it.
 */
export async function createSigner(work: WorkFolder): Promise<Signer> {
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
