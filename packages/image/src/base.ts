import { resolve } from 'node:path';
import {
  type BaseImage,
  ImageLayout,
  type Platform,
  parseReference,
  RegistryRepository,
  readImage,
  storedCredentials,
} from '@stackwright/oci';
import { ImageError } from './error.js';

/**
 * Opens the image to build on: `scratch` (none), `oci:FOLDER[:TAG]`, or a registry's reference, which may stand behind
 * `oci://` or, for a registry without TLS, `oci+http://`.
 * @param options.cwd what a folder is relative to; `env` where credentials and proxies come from; `plainHttp` a registry
 *   that is known to have no TLS
 * @throws OciError, ImageError
 */
export async function openBase(
  text: string,
  options: {
    readonly cwd: string;
    readonly env: NodeJS.ProcessEnv;
    readonly platform?: Platform;
    readonly plainHttp?: string;
    readonly signal?: AbortSignal;
  },
): Promise<BaseImage | undefined> {
  const { cwd, env, platform, plainHttp, signal } = options;
  if (text === 'scratch') return undefined;
  const [, scheme, reference = text] = /^oci(|\+http):\/\/(.+)$/.exec(text) ?? [];
  if (scheme === undefined && text.startsWith('oci:')) {
    const { folder, tag } = parseLayoutName(text);
    const source = await ImageLayout.open(resolve(cwd, folder));
    return { source, image: await readImage(source, tag, platform, signal) };
  }
  const { registry, repository, digest, tag } = parseReference(reference);
  const plain = scheme === '+http' || (scheme === undefined && registry === plainHttp);
  const source = new RegistryRepository(registry, repository, {
    ...(plain ? { http: true } : scheme === '' ? { http: false } : {}),
    credentials: () => storedCredentials(registry, env),
  });
  return { source, image: await readImage(source, digest ?? tag ?? 'latest', platform, signal) };
}

/** Reads `oci:FOLDER[:TAG]`; the tag is `latest` where it is left out. @throws ImageError */
export function parseLayoutName(text: string): { folder: string; tag: string } {
  const [, folder = '', tag = 'latest'] = /^oci:(.+?)(?::([A-Za-z0-9_][\w.-]*))?$/.exec(text) ?? [];
  if (!folder)
    throw new ImageError('name', `"${text}" names no folder.`, {
      hint: 'Write oci:FOLDER or oci:FOLDER:TAG.',
    });
  return { folder, tag };
}
