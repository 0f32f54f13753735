import { resolve } from 'node:path';
import type { MirrorReader, SignaturePolicy, Signer } from '@stackwright/buildcache';
import { readPlainFile } from '@stackwright/spack-env';
import type { Caller } from './caller.js';
import { StackError } from './error.js';
import type { MirrorPlace } from './mirrors.js';
import type { Stack } from './stack.js';

/** How old what is signed may be. */
export interface AgeOptions {
  /** Packages that were signed before do not count, nor those that do not say when. */
  readonly notBefore?: Date;
  /** Milliseconds since a mirror's index was signed; an index that is not signed is refused then. */
  readonly maxAge?: number;
}

/** Whose signatures count for a stack's packages. */
export interface StackTrust {
  /** Files of public keys, absolute. */
  readonly files: readonly string[];
  readonly maxAge: number | undefined;
  /** Reads the keys when they are first needed. */
  policy(): Promise<SignaturePolicy>;
}

/**
 * The one rule for whose signatures count: the keys that `stackwright.yaml` names, those of `--trust`, and the key that
 * is signed with here.
 * @param options.trust files, relative to where the caller is
 * @param options.signer what is signed with; the key that the environment gives when left out
 */
export function stackTrust(
  caller: Caller,
  stack: Stack,
  options: AgeOptions & {
    readonly trust?: readonly string[];
    readonly signer?: () => Promise<Signer | undefined>;
  } = {},
): StackTrust {
  const { cwd, signal } = caller;
  const files = [
    ...stack.settings.trust.map((file) => resolve(stack.folder, file)),
    ...(options.trust ?? []).map((file) => resolve(cwd, file)),
  ];
  let policy: Promise<SignaturePolicy> | undefined;
  const read = async (): Promise<SignaturePolicy> => {
    const { readKeyFiles, trustOf } = await import('@stackwright/buildcache');
    const keys = await readKeyFiles(files);
    const signer = await (options.signer?.() ?? keyOfEnvironment(caller));
    if (signer) keys.push({ text: await signer.publicKey(), from: 'the signing key' });
    return { kind: 'trusted', trust: await trustOf({ keys, signal }), notBefore: options.notBefore };
  };
  return {
    files,
    maxAge: options.maxAge,
    policy: () => {
      policy ??= read();
      return policy;
    },
  };
}

async function keyOfEnvironment(caller: Caller): Promise<Signer | undefined> {
  const { findSigner } = await import('./signer.js');
  return findSigner(caller);
}

/** What is asked of the signatures of one place. */
export async function policyFor(place: MirrorPlace, trust: StackTrust): Promise<SignaturePolicy> {
  return place.unsigned ? { kind: 'unsigned' } : trust.policy();
}

/** Whose signatures count for a mirror that belongs to no stack. */
export interface TrustOptions {
  /** Files of public keys, relative to where the caller is. */
  readonly trust: readonly string[];
  /** Fingerprints: of these keys only those count. */
  readonly trustKey?: readonly string[];
  /** The keys that the mirror itself publishes count. */
  readonly trustPublished?: boolean;
  /** Signatures are not looked at. */
  readonly unsigned?: boolean;
  /** Signatures by keys that have expired since count. */
  readonly expiredKeys?: boolean;
  /** Packages that were signed before do not count, nor those that do not say when. */
  readonly notBefore?: Date;
}

/**
 * What is asked of the signatures of a mirror by itself.
 * @param published the mirror whose published keys `trustPublished` means
 * @throws StackError when nobody is named
 */
export async function mirrorPolicy(
  { cwd, signal }: Caller,
  published: MirrorReader | undefined,
  options: TrustOptions,
): Promise<SignaturePolicy> {
  if (options.unsigned) return { kind: 'unsigned' };
  if (options.trust.length === 0 && !options.trustPublished) {
    throw new StackError('no-trusted-key', 'No trusted key given.', {
      hint: 'Pass a public key with --trust FILE, trust the keys that the mirror publishes with\n--trust-published, or ignore signatures with --unsigned.',
    });
  }
  const { trustOf } = await import('@stackwright/buildcache');
  const trust = await trustOf({
    keys: await Promise.all(
      options.trust.map(async (file) => ({ text: await readPlainFile(resolve(cwd, file)), from: file })),
    ),
    published: options.trustPublished ? published : undefined,
    fingerprints: options.trustKey,
    signal,
  });
  if (trust.keys.length === 0) {
    throw new StackError('no-trusted-key', 'No key is left to trust.', {
      hint: 'Check the fingerprints of --trust-key.',
    });
  }
  const { expiredKeys, notBefore } = options;
  return { kind: 'trusted', trust, expiredKeys, notBefore };
}
