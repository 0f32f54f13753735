import { createHash } from 'node:crypto';
import { dirname } from 'node:path';
import type { Readable } from 'node:stream';
import type { Digest } from '@stackwright/oci';
import { BuildcacheError } from './error.js';
import type { TarEntry } from './pack/tar.js';
import { type InspectedPrefix, inspectedFolders } from './search-path.js';
import { tarEntries } from './unpack/unpack.js';

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

/** Finds what search paths need to know while a package's entries go by. */
export class LayerScan {
  readonly #folders = new Set<string>();
  /** Folders that hold what is no folder. */
  readonly #holders = new Set<string>();
  #prefix: string | undefined;

  see({ name, type }: TarEntry): void {
    if (type === 'folder') this.#folders.add(name);
    else this.#holders.add(dirname(name));
    if (name.endsWith(distributionName)) this.#prefix = name.slice(0, -distributionName.length);
  }

  /** @throws BuildcacheError `tarball` when these were not the entries of an installed package */
  result(what: string): InspectedPrefix {
    const prefix = this.#prefix;
    if (prefix === undefined) {
      throw new BuildcacheError(
        'tarball',
        `${what}: the tarball has no .spack/binary_distribution, so it is not of an installed package.`,
        { package: what },
      );
    }
    this.#checkPlaces(prefix, what);
    const folders = Object.keys(inspectedFolders).filter(
      (sub) => sub === '.' || this.#folders.has(`${prefix}/${sub}`),
    );
    return { prefix: `/${prefix}`, folders };
  }

  /** A layer must not bring along files of the base image or of another package. */
  #checkPlaces(prefix: string, what: string): void {
    const within = (path: string) => path === prefix || path.startsWith(`${prefix}/`);
    const above = (path: string) => prefix.startsWith(`${path}/`);
    const outside =
      [...this.#holders].find((path) => !within(path)) ??
      [...this.#folders].find((path) => !within(path) && !above(path));
    if (outside === undefined) return;
    throw new BuildcacheError(
      'tar-path',
      `${what}: its tarball has files in /${outside}, outside of its prefix /${prefix}.`,
      { package: what, file: outside, hint: 'Push the package again.' },
    );
  }
}

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
  const scan = new LayerScan();
  let distribution = '';
  for await (const { entry, content } of tarEntries(compressed, { what, signal, onBytes, layer: true })) {
    if (entry.name.endsWith(distributionName) && entry.size > longestDistribution) continue;
    scan.see(entry);
    if (!entry.name.endsWith(distributionName)) continue;
    const chunks: Buffer[] = [];
    for await (const chunk of content) chunks.push(chunk);
    distribution = Buffer.concat(chunks).toString('utf8');
  }
  const { prefix, folders } = scan.result(what);
  return { diffId: `sha256:${uncompressed.digest('hex')}`, size, prefix, distribution, folders };
}
