import { isOciUrl, type Mirror, openMirror, type Signer } from '@stackwright/buildcache';
import { connectionOptions, type Environment, resolvePath } from '@stackwright/spack-env';
import { ciConfigOf } from '../ci-config.js';
import type { Context } from '../context.js';
import { RunnerError } from '../exit.js';
import type { Stack } from '../stack.js';
import { ensureFolder, runMirrorUrl, runPolicy } from './mirror.js';
import { findSigner, writePublicKey } from './signer.js';
import type { WorkFolder } from './work.js';

/** What the command line says of the mirror. */
export interface AccessOptions {
  readonly mirror?: string;
  readonly trust: readonly string[];
  readonly unsigned?: boolean;
}

/** `config:install_tree:root`, where the stack sets it; variables filled in. */
export function installRootOf({ config, folder, variables }: Environment): string | undefined {
  const tree = (config.config as { install_tree?: string | { root?: string } } | undefined)?.install_tree;
  const root = typeof tree === 'string' ? tree : tree?.root;
  return root === undefined ? undefined : resolvePath(root, folder, variables);
}

/** The mirror of a run, and the keys that go with it. */
export interface Access {
  mirror: Mirror;
  readonly url: string;
  /** The mirror got something new that its index does not have yet. */
  readonly reseeded: boolean;
  /** Files of public keys. */
  readonly trusted: readonly string[];
}

export async function openAccess(
  context: Context,
  stack: Stack,
  environment: Environment,
  work: WorkFolder,
  options: AccessOptions,
): Promise<Access> {
  const configured = ciConfigOf(environment).mirrors;
  const own = configured.find(({ name }) => name === 'buildcache-destination') ?? configured[0];
  const { url, reseeded } = await runMirrorUrl(context, stack, work, {
    given: options.mirror,
    configured: own?.push,
  });
  if (isOciUrl(url) && !options.unsigned) {
    throw new RunnerError(
      'input',
      `${url}: packages in a registry carry no signatures.`,
      'To take and push them all the same, checked by checksum only: --unsigned',
    );
  }
  const signer = await findSigner(context, work);
  const { policy, files } = await runPolicy(context, stack, {
    ...options,
    unsigned: options.unsigned ?? false,
    signer,
  });
  const connection = connectionOptions(
    options.mirror === undefined ? own?.connection?.push : undefined,
    context.env,
  );
  const mirror = await openMirror(url, { ...connection, policy, signal: context.signal });
  return { mirror, url, reseeded, trusted: files };
}

/**
 * The same mirror ready to be pushed to: with a key to sign with, which is trusted from here on.
 * @param keyless called when there is no key: makes one, or says that one is needed
 */
export async function openForWriting(
  context: Context,
  stack: Stack,
  work: WorkFolder,
  options: AccessOptions,
  access: Access,
  keyless: () => Promise<Signer>,
): Promise<{ mirror: Mirror; signer: Signer | undefined; trusted: readonly string[] }> {
  await ensureFolder(access.url);
  if (options.unsigned) return { mirror: access.mirror, signer: undefined, trusted: [] };
  const signer = (await findSigner(context, work)) ?? (await keyless());
  const { policy } = await runPolicy(context, stack, { ...options, unsigned: false, signer });
  const trusted = [...access.trusted, await writePublicKey(signer, work)];
  return { mirror: access.mirror.withPolicy(policy), signer, trusted };
}
