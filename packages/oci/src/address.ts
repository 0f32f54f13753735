import { type Credentials, storedCredentials } from './credentials.js';
import { parseReference, type Reference } from './reference.js';
import { RegistryRepository } from './registry.js';

/** An image reference with the way that its registry is reached. */
export interface Address extends Reference {
  /** Whether it is asked by plain HTTP; undefined where the address does not say. */
  readonly http: boolean | undefined;
}

/**
 * Reads an image reference, which may stand behind `oci://` (TLS, on the loopback interface too) or `oci+http://` (none).
 * @throws OciError `invalid`
 */
export function parseAddress(text: string): Address {
  const [, scheme, reference = text] = /^oci(|\+http):\/\/(.+)$/.exec(text) ?? [];
  return { ...parseReference(reference), http: scheme === undefined ? undefined : scheme === '+http' };
}

/**
 * The repository that an address names, with the credentials that are stored for it.
 * @param options.plainHttp a registry that is known to have no TLS; `credentials` count before those that are stored
 */
export function openRepository(
  { registry, repository, http }: Address,
  env: NodeJS.ProcessEnv,
  options: { readonly plainHttp?: string; readonly credentials?: Credentials } = {},
): RegistryRepository {
  return new RegistryRepository(registry, repository, {
    http: http ?? (registry === options.plainHttp ? true : undefined),
    credentials: async () => options.credentials ?? storedCredentials(registry, env, repository),
  });
}
