import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import type { Digest } from '@stackwright/oci';
import { BuildcacheError } from './error.js';
import { inspectedFolders } from './search-path.js';
import { tarEntries } from './unpack.js';

/** What has to be known of a package's tarball before it can be a layer; constant for a digest, so it is remembered. */
export interface LayerFacts {
  /** The digest of the uncompressed tar. */
  readonly diffId: Digest;
  /** Bytes, uncompressed. */
  readonly size: number;
  /** The absolute prefix that the package was installed into, from the tarball's own paths. */
  readonly prefix: string;
  /** The text of `.spack/binary_distribution`: where it was built, and what has to change when it moves. */
  readonly distribution: string;
  /** Folders directly or deeper below the prefix that search paths look for, relative to it, sorted. */
  readonly folders: readonly string[];
}

// Far above any real one; a file of this name that is larger is not what Spack wrote.
const longestDistribution = 64 * 1024 * 1024;
const distributionName = '/.spack/binary_distribution';

/**
 * Reads a gzip-compressed package tarball once and finds what is needed of it. Nothing is kept but the facts.
 * @param what names the package in errors
 * @throws BuildcacheError when it is no safe tarball, or not of an install prefix
 */
export async function readLayerFacts(
  compressed: Readable,
  what: string,
  signal?: AbortSignal,
): Promise<LayerFacts> {
  const uncompressed = createHash('sha256');
  let size = 0;
  const onBytes = (bytes: Buffer) => {
    uncompressed.update(bytes);
    size += bytes.length;
  };
  const folders = new Set<string>();
  let found: { readonly folder: string; readonly text: string } | undefined;
  for await (const { entry, content } of tarEntries(compressed, { what, signal, onBytes })) {
    if (entry.type === 'folder') folders.add(entry.name);
    if (!entry.name.endsWith(distributionName) || entry.size > longestDistribution) continue;
    const chunks: Buffer[] = [];
    for await (const chunk of content) chunks.push(chunk);
    found = {
      folder: entry.name.slice(0, -distributionName.length),
      text: Buffer.concat(chunks).toString('utf8'),
    };
  }
  if (!found) {
    throw new BuildcacheError(
      'input',
      'tarball',
      `${what}: the tarball has no .spack/binary_distribution, so it is not of an installed package.`,
      { package: what },
    );
  }
  const { folder, text } = found;
  return {
    diffId: `sha256:${uncompressed.digest('hex')}`,
    size,
    prefix: `/${folder}`,
    distribution: text,
    folders: Object.keys(inspectedFolders).filter((sub) => sub === '.' || folders.has(`${folder}/${sub}`)),
  };
}
