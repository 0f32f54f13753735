import { type Credentials, storedCredentials } from '@stackwright/oci';
import { openStore } from '@stackwright/storage';
import { type CopyOptions, type CopyOutcome, copyPackages } from './care/copy.js';
import { type PruneOptions, type PrunePlan, planPrune, prune } from './care/prune.js';
import { BuildcacheError, hasCode } from './error.js';
import { type IndexOptions, type IndexResult, updateIndex } from './index/reindex.js';
import type { PackageMirror } from './mirror.js';
import { copyToRegistry } from './oci/copy.js';
import { planOciPrune, pruneOci } from './oci/prune.js';
import { pushToRegistry } from './oci/push.js';
import { isOciUrl, OciMirror } from './oci/reader.js';
import { updateOciIndex } from './oci/reindex.js';
import type { PackageRef } from './package-ref.js';
import { V2Mirror } from './v2/mirror.js';
import { type PackageSource, type Pushed, type PushOptions, pushPackage } from './v3/push.js';
import { Mirror, type OpenMirrorOptions, openMirror } from './v3/reader.js';

/** A mirror that can be written: of layout v3 in a store, or in a registry. */
export type AnyMirror = Mirror | OciMirror;

/**
 * Opens a mirror of any kind by its URL: what `openMirror` takes, and `oci://REGISTRY/REPOSITORY` (`oci+http://`
 * without TLS), with the credentials given or those that `docker login` and its kin left.
 * @throws BuildcacheError as `openMirror`
 */
export async function openAnyMirror(
  url: string,
  options: OpenMirrorOptions & { readonly login?: Credentials } = {},
): Promise<AnyMirror> {
  if (!isOciUrl(url)) return openMirror(url, options);
  const { policy, login, env, existing, signal } = options;
  const mirror = OciMirror.open(url, {
    policy,
    credentials: async (registry) => login ?? storedCredentials(registry, env),
  });
  if (existing && !(await holdsSomething(mirror, signal))) {
    throw new BuildcacheError('missing', 'not-a-mirror', `${mirror.url} is no mirror: it has no package.`, {
      mirror: mirror.url,
      hint: 'Check the address. The first push to it makes it a mirror.',
    });
  }
  return mirror;
}

/** Opens a mirror to read, also one of the old layout v2. */
export async function openToRead(
  url: string,
  options: OpenMirrorOptions & { readonly login?: Credentials } = {},
): Promise<PackageMirror> {
  try {
    return await openAnyMirror(url, { ...options, existing: true });
  } catch (error) {
    if (!hasCode(error, 'layout')) throw error;
    return new V2Mirror(await openStore(url, options), options.policy ?? { kind: 'unsigned' });
  }
}

async function holdsSomething(mirror: OciMirror, signal?: AbortSignal): Promise<boolean> {
  if (await mirror.hasIndex(signal)) return true;
  for await (const _ of mirror.tags(signal)) return true;
  return false;
}

/** Brings the index of a mirror of any kind up to date. */
export function updateAnyIndex(mirror: AnyMirror, options?: IndexOptions): Promise<IndexResult> {
  return mirror instanceof Mirror ? updateIndex(mirror, options) : updateOciIndex(mirror, options);
}

/** Copies packages between mirrors of any kind. A registry takes no signatures, new ones neither. */
export function copyAny(
  from: PackageMirror,
  to: AnyMirror,
  refs: readonly PackageRef[],
  options?: CopyOptions,
): Promise<{ outcomes: Map<string, CopyOutcome>; failed: { package: PackageRef; error: Error }[] }> {
  return to instanceof Mirror
    ? copyPackages(from, to, refs, options)
    : copyToRegistry(from, to, refs, options);
}

/** Packs one package and pushes it to a mirror of any kind. In a registry there is no signature. */
export async function pushAny(
  mirror: AnyMirror,
  source: PackageSource,
  options: PushOptions = {},
): Promise<Pushed> {
  if (mirror instanceof Mirror) return pushPackage(mirror, source, options);
  const { pushed, failed } = await pushToRegistry(mirror, [source], options);
  if (failed[0]) throw failed[0].error;
  return pushed[0]!;
}

/**
 * Finds what can go from a mirror of any kind. Nothing is deleted.
 * @throws BuildcacheError `unsupported` for a registry when it is not said what to keep
 */
export async function planAnyPrune(mirror: AnyMirror, options: PruneOptions = {}): Promise<PrunePlan> {
  if (mirror instanceof Mirror) return planPrune(mirror, options);
  if (options.olderThan !== undefined || !options.keep) {
    const why =
      options.olderThan === undefined
        ? 'a registry collects orphans by itself'
        : 'a registry does not tell how old a package is';
    throw new BuildcacheError('input', 'unsupported', `${mirror.url}: ${why}.`, {
      mirror: mirror.url,
      hint: 'Say which packages are to be kept, and nothing else.',
    });
  }
  return planOciPrune(mirror, options.keep, options.signal);
}

/** Deletes what the plan names. */
export async function pruneAny(
  mirror: AnyMirror,
  plan: PrunePlan,
  options: PruneOptions = {},
): Promise<void> {
  if (mirror instanceof Mirror) await prune(mirror, plan, options);
  else await pruneOci(mirror, plan, options.signal);
}
