import type { Mirror, Signer } from '@stackwright/buildcache';
import type { Caller } from '../caller.js';
import { connectionOptions } from '../credentials.js';
import { chooseMirrors, type MirrorOptions, type MirrorPlace, StackMirrors } from '../mirrors.js';
import { ensureFolder, writableMirrors } from '../seed.js';
import { findSigner, runSigner, type SignerOptions, writePublicKey } from '../signer.js';
import type { Stack } from '../stack.js';
import { refusedBy, type Survey } from '../survey.js';
import { type AgeOptions, policyFor, stackTrust } from '../trust.js';
import type { WorkFolder } from '../work.js';

export interface AccessOptions extends MirrorOptions, SignerOptions, AgeOptions {
  /** Files of public keys whose signatures count besides those that the stack names. */
  readonly trust?: readonly string[];
}

/** The mirrors of work that builds, and what it may sign with. */
export interface Access {
  readonly mirrors: StackMirrors;
  readonly target: MirrorPlace;
  /** The target got something new that its index does not have yet. */
  readonly reseeded: boolean;
  /** The key that the user gave, else one that an earlier run made for this work folder. */
  signer(): Promise<Signer | undefined>;
}

/** Opens the mirrors of a stack for work that builds. Nothing but the work folder is written. */
export async function openAccess(
  caller: Caller,
  stack: Stack,
  work: WorkFolder,
  options: AccessOptions,
): Promise<Access> {
  const choice = await chooseMirrors(caller, stack, options);
  const { reseeded, ...writable } = await writableMirrors(choice, stack, work);
  let found: Promise<Signer | undefined> | undefined;
  const signer = () => {
    found ??= findSigner(caller, options).then((given) => given ?? runSigner(work));
    return found;
  };
  const trust = stackTrust(caller, stack, { ...options, signer });
  const mirrors = new StackMirrors(caller, writable, trust);
  return { mirrors, target: writable.target, reseeded, signer };
}

/** The target, ready to be pushed to. */
export interface WritableTarget {
  readonly mirror: Mirror;
  /** Undefined where packages are pushed unsigned. */
  readonly signer: Signer | undefined;
  /** Files of public keys that Spack is to trust when it takes dependencies from the mirrors. */
  readonly trusted: readonly string[];
  /** The mirrors to read from now on: what the signer signs counts there. */
  readonly mirrors: StackMirrors;
}

/**
 * Opens the target to push to, with a key to sign with, which is trusted from here on.
 * @param found what the mirrors were found to hold. A package that is there and does not count is replaced only by who
 *   was given a key (or pushes unsigned): a key made on the spot must not take the place of another's signature
 * @param keyless makes a key where none is given, or says that one is needed
 * @throws the error of the first package that is refused and may not be replaced
 */
export async function openTarget(
  caller: Caller,
  stack: Stack,
  work: WorkFolder,
  options: AccessOptions,
  { target, mirrors: before, signer: known }: Access,
  found: Survey,
  keyless: (work: WorkFolder) => Promise<Signer>,
): Promise<WritableTarget> {
  const given = await findSigner(caller, options);
  const [refused] = refusedBy(found, target);
  if (refused?.error && !given && !target.unsigned) throw refused.error;
  await ensureFolder(target.push);
  const { openMirror } = await import('@stackwright/buildcache');
  const signer = target.unsigned ? undefined : ((await known()) ?? (await keyless(work)));
  const trust = stackTrust(caller, stack, { ...options, signer: async () => signer });
  const mirror = await openMirror(target.push, {
    ...connectionOptions(caller.env, target.connection?.push),
    policy: await policyFor(target, trust),
    signal: caller.signal,
  });
  const trusted = [...trust.files, ...(signer ? [await writePublicKey(signer, work)] : [])];
  return { mirror, signer, trusted, mirrors: new StackMirrors(caller, before.choice, trust) };
}
