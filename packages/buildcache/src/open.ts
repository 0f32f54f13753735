import { type Credentials, storedCredentials } from '@stackwright/oci';
import { isRegistryUrl } from '@stackwright/spack-env';
import { isNotFound, type OpenOptions, openStore } from '@stackwright/storage';
import { BuildcacheError, hasCode } from './error.js';
import type { SignaturePolicy } from './mirror.js';
import type { Mirror } from './mirror-writer.js';
import { OciMirror } from './oci/mirror.js';
import { V2Mirror } from './v2/mirror.js';
import { v3 } from './v3/layout.js';
import { readManifest } from './v3/manifest.js';
import { V3Mirror } from './v3/mirror.js';

export interface OpenMirrorOptions extends OpenOptions {
  /** `unsigned` when left out. */
  readonly policy?: SignaturePolicy;
  /** The index view that is read instead of the whole index; an empty name counts as none. */
  readonly view?: string;
  /** Refuse an address where no mirror is; else a new, empty one is no error. */
  readonly existing?: boolean;
  /** For a registry; else those that `docker login` and its kin left. */
  readonly login?: Credentials;
  readonly signal?: AbortSignal;
}

/**
 * Opens a mirror of any kind by its URL: what `openV3Mirror` takes, and `oci://REGISTRY/REPOSITORY` (`oci+http://`
 * without TLS), with the credentials given or those that `docker login` and its kin left.
 * @throws BuildcacheError as `openV3Mirror`; `unsupported` for a `view` of a registry
 */
export async function openMirror(url: string, options: OpenMirrorOptions = {}): Promise<Mirror> {
  if (!isRegistryUrl(url)) return openV3Mirror(url, options);
  const { policy, login, env, existing, signal } = options;
  const opened = OciMirror.open(url, {
    policy,
    credentials: async (registry) => login ?? storedCredentials(registry, env),
  });
  const mirror = opened.withView(options.view || undefined);
  if (existing && !(await holdsSomething(mirror, signal))) {
    throw new BuildcacheError('not-a-mirror', `${mirror.url} is no mirror: it has no package.`, {
      mirror: mirror.url,
      hint: 'Check the address. The first push to it makes it a mirror.',
    });
  }
  return mirror;
}

/** Opens a mirror to read, also one of the old layout v2. */
export async function openToRead(url: string, options: OpenMirrorOptions = {}): Promise<Mirror> {
  try {
    return await openMirror(url, { ...options, existing: true });
  } catch (error) {
    if (!hasCode(error, 'layout')) throw error;
    const mirror = new V2Mirror(await openStore(url, options), options.policy ?? { kind: 'unsigned' });
    return mirror.withView(options.view || undefined);
  }
}

async function holdsSomething(mirror: OciMirror, signal?: AbortSignal): Promise<boolean> {
  if (await mirror.hasIndex(signal)) return true;
  for await (const _ of mirror.tags(signal)) return true;
  return false;
}

/**
 * Opens a mirror of layout v3 by its URL: a path, `file://`, `s3://` or `http(s)://`.
 * @throws BuildcacheError `layout` for one of the old layout v2; with `existing`, `not-a-mirror` where nothing has been
 *   pushed yet
 */
export async function openV3Mirror(url: string, options: OpenMirrorOptions = {}): Promise<V3Mirror> {
  const store = await openStore(url, options);
  const mirror = new V3Mirror(store, options.policy ?? { kind: 'unsigned' }, options.view || undefined);
  // Read, not asked for with HEAD: only then do servers say what is wrong with a bucket or a credential.
  const has = async (key: string) => {
    try {
      await readManifest(store, key, options.signal);
      return true;
    } catch (error) {
      if (isNotFound(error)) return false;
      throw error;
    }
  };
  if (await has(v3.layout)) return mirror;
  if (await store.head('build_cache/index.json', options)) {
    throw new BuildcacheError('layout', `${store.url} has the old layout v2.`, {
      mirror: store.url,
      hint: 'Migrate it with: stackwright mirror migrate URL',
    });
  }
  if (!options.existing) return mirror;
  throw new BuildcacheError('not-a-mirror', `${store.url} is no mirror: it has no ${v3.layout}.`, {
    mirror: store.url,
    hint: 'Check the address. The first push to it makes it a mirror.',
  });
}
