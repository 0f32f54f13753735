import { resolve } from 'node:path';
import type { AssembleOptions, ImageSettings, PackageBlob } from '@stackwright/image';
import {
  ImageLayout,
  parseReference,
  RegistryRepository,
  readImage,
  storedCredentials,
} from '@stackwright/oci';
import type { Context } from '../context.js';
import { RunnerError } from '../exit.js';
import type { Stack } from '../stack.js';

/**
 * Opens the image that another is built on: `scratch`, `oci:FOLDER[:TAG]` (relative to `cwd`), or a registry's reference.
 * @throws OciError, RunnerError
 */
export async function openBase(
  text: string,
  context: Context,
  cwd: string,
): Promise<AssembleOptions['base']> {
  if (text === 'scratch') return undefined;
  const { signal } = context;
  if (text.startsWith('oci:')) {
    const [, folder = '', tag = 'latest'] = /^oci:(.+?)(?::([A-Za-z0-9_][\w.-]*))?$/.exec(text) ?? [];
    if (!folder)
      throw new RunnerError('input', `"${text}" names no folder.`, 'Write oci:FOLDER or oci:FOLDER:TAG.');
    const source = await ImageLayout.open(resolve(cwd, folder));
    return { source, image: await readImage(source, tag, undefined, signal) };
  }
  const reference = parseReference(text);
  const source = new RegistryRepository(reference.registry, reference.repository, {
    credentials: () => storedCredentials(reference.registry, context.env),
  });
  return {
    source,
    image: await readImage(source, reference.digest ?? reference.tag ?? 'latest', undefined, signal),
  };
}

/** What the stack's `stackwright.yaml` says of its image. */
export function imageSettings(stack: Stack): ImageSettings {
  const { command, entrypoint, env, labels, user, workdir } = stack.settings.image;
  return { command, entrypoint, env, labels, user, workdir };
}

/** @throws RunnerError when the mirror lacks any of the image's packages */
export function requireAll(
  wanted: readonly { name: string; version: string; hash: string }[],
  blobs: ReadonlyMap<string, PackageBlob>,
): PackageBlob[] {
  const missing = wanted.filter((node) => !blobs.has(node.hash));
  if (missing.length > 0) {
    const names = missing.map((node) => `${node.name}@${node.version}/${node.hash.slice(0, 7)}`);
    throw new RunnerError(
      'missing',
      `The mirror lacks ${missing.length} of the image's packages: ${names.join(', ')}.`,
      'Build them first: stackwright run STACK',
    );
  }
  return wanted.map((node) => blobs.get(node.hash) as PackageBlob);
}
