import { resolve } from 'node:path';
import { goArchitecture } from '@stackwright/buildcache';
import {
  type BaseImage,
  ImageLayout,
  openRepository,
  type Platform,
  parseAddress,
  readImage,
} from '@stackwright/oci';
import type { ConcreteNode } from '@stackwright/spack-env';
import { openDockerArchive, openRootfs } from './base-archive.js';
import { ImageError } from './error.js';

/**
 * Opens the image to build on: `scratch` (none), `oci:FOLDER[:TAG]`, `docker-archive:FILE[:NAME:TAG]`, `rootfs:FILE` (a
 * tar, packed or not), or a registry's reference, which may stand behind
 * `oci://` or, for a registry without TLS, `oci+http://`.
 * @param options.platform which image of an index is taken
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
    /** Folder that keeps what was taken from archives; without it, archives are refused. */
    readonly work?: string;
    readonly plainHttp?: string;
    readonly signal?: AbortSignal;
  },
): Promise<BaseImage | undefined> {
  const { cwd, env, platform, plainHttp, signal } = options;
  const archive = await openArchive(text, options);
  if (archive) return archive;
  if (text === 'scratch') return undefined;
  if (/^oci:(?!\/\/)/.test(text)) {
    const { folder, tag } = parseLayoutName(text);
    const source = await ImageLayout.open(resolve(cwd, folder));
    return { source, image: await readImage(source, tag, platform, signal) };
  }
  const address = parseAddress(text);
  const source = openRepository(address, env, { plainHttp });
  const { digest, tag = 'latest' } = address;
  return { source, image: await readImage(source, digest ?? tag, platform, signal) };
}

async function openArchive(
  text: string,
  { cwd, platform, work }: { readonly cwd: string; readonly platform?: Platform; readonly work?: string },
): Promise<BaseImage | undefined> {
  const [, kind, file = '', reference] = /^(docker-archive|rootfs):([^:]+)(?::(.+))?$/.exec(text) ?? [];
  if (kind === undefined) return undefined;
  if (work === undefined) throw new ImageError('name', `"${text}" is a file; it cannot be used here.`);
  const path = resolve(cwd, file);
  if (kind === 'docker-archive') return openDockerArchive(path, reference, work);
  return openRootfs(path, platform ?? { os: 'linux', architecture: 'amd64' }, work);
}

/**
 * The platform of packages, in OCI's words; undefined where they are of several, or there are none.
 */
export function platformOf(nodes: readonly Pick<ConcreteNode, 'arch'>[]): Platform | undefined {
  const platforms = new Map(
    nodes.map(({ arch }) => {
      const platform = { os: arch.platform, architecture: goArchitecture(arch.target) };
      return [`${platform.os}/${platform.architecture}`, platform];
    }),
  );
  const [only, ...others] = platforms.values();
  return others.length === 0 ? only : undefined;
}

/** @throws ImageError `platform` when the base is of another platform than the packages, naming both */
export function checkPlatform(base: BaseImage | undefined, platform: Platform | undefined): void {
  if (!base || !platform) return;
  const { os, architecture } = base.image.config;
  if (os === platform.os && architecture === platform.architecture) return;
  throw new ImageError(
    'platform',
    `The packages are for ${platform.os}/${platform.architecture}, the base ${base.source.name} is for ${os}/${architecture}.`,
    { hint: `Take a base image for ${platform.os}/${platform.architecture}.` },
  );
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
