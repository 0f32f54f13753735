import { createHash } from 'node:crypto';
import { basename, dirname } from 'node:path';
import type { Readable } from 'node:stream';
import type { Digest } from '@stackwright/oci';
import { BuildcacheError, hasCode } from './error.js';
import type { TarEntry, TarItem } from './pack/tar.js';
import { inspectedFolders } from './search-path.js';
import { ElfScan, type PackageLibraries } from './unpack/elf-scan.js';
import { ScriptScan } from './unpack/script-scan.js';
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
  readonly libraries: PackageLibraries;
  readonly contents: PackageContents;
}

/** What an image has to know of a package's files besides its libraries. */
export interface PackageContents {
  /** What first lines of its programs ask for, see `shebangsOf`. */
  readonly shebangs: readonly string[];
  /** Names in the folders that a view links, by folder below the prefix. A folder of very many names is left out. */
  readonly entries: Readonly<Record<string, readonly string[]>>;
}

/** Folders below a prefix whose entries a view puts together; others are linked as wholes. */
export const viewFolders: readonly string[] = [
  ...['bin', 'sbin', 'include', 'lib', 'lib64', 'share'],
  ...['lib/pkgconfig', 'lib64/pkgconfig', 'share/pkgconfig', 'share/aclocal', 'share/info'],
  ...['lib/cmake', 'lib64/cmake', 'share/cmake'],
  ...['man', 'share/man'].flatMap((folder) =>
    Array.from({ length: 8 }, (_, section) => `${folder}/man${section + 1}`),
  ),
];
const viewNames = new Set(viewFolders.map((folder) => basename(folder)));
/** A manifest carries these names: a folder of more is no place that people look into. */
const mostEntries = 1000;

// Far above any real one; a file of this name that is larger is not what Spack wrote.
const longestDistribution = 64 * 1024 * 1024;
const distributionName = '/.spack/binary_distribution';

/** What a package's entries tell while they go by. */
export type ScannedLayer = Omit<LayerFacts, 'diffId' | 'size'>;

/** Finds facts of a package while its entries go by, to be packed or to be read. */
export class LayerScan {
  readonly #folders = new Set<string>();
  /** Folders that hold what is no folder. */
  readonly #holders = new Set<string>();
  readonly #elf = new ElfScan();
  readonly #scripts = new ScriptScan();
  /** Entries of folders that a view may link, by folder: the prefix is known only at the end. */
  readonly #listed = new Map<string, string[]>();
  #prefix: string | undefined;
  #distribution = '';

  /** The same entries, looked at on their way. */
  async *watch(items: AsyncIterable<TarItem>): AsyncGenerator<TarItem> {
    for await (const { entry, content } of items) {
      if (entry.name.endsWith(distributionName)) {
        if (entry.size <= longestDistribution)
          yield { entry, content: this.#takeDistribution(entry, content) };
        else yield { entry, content };
      } else {
        if (entry.type === 'folder') this.#folders.add(entry.name);
        else this.#holders.add(dirname(entry.name));
        this.#list(entry.name);
        const seen = this.#elf.watch({ entry, content });
        yield { entry, content: this.#scripts.watch({ entry, content: seen }) };
      }
    }
  }

  /** @throws BuildcacheError `tarball` when these were not the entries of an installed package */
  result(what: string): ScannedLayer {
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
    return {
      prefix: `/${prefix}`,
      folders,
      distribution: this.#distribution,
      libraries: this.#elf.result(),
      contents: { shebangs: this.#scripts.result(), entries: this.#entriesBelow(prefix) },
    };
  }

  #list(name: string): void {
    const folder = dirname(name);
    if (!viewNames.has(basename(folder))) return;
    const names = this.#listed.get(folder) ?? [];
    if (names.length <= mostEntries) names.push(basename(name));
    this.#listed.set(folder, names);
  }

  #entriesBelow(prefix: string): Record<string, string[]> {
    const entries: Record<string, string[]> = {};
    for (const folder of viewFolders) {
      const names = this.#listed.get(`${prefix}/${folder}`);
      if (names && names.length <= mostEntries) entries[folder] = names.sort();
    }
    return entries;
  }

  async *#takeDistribution({ name }: TarEntry, content: TarItem['content']): AsyncGenerator<Buffer> {
    this.#holders.add(dirname(name));
    const chunks: Buffer[] = [];
    for await (const chunk of content) {
      chunks.push(Buffer.from(chunk));
      yield chunk;
    }
    this.#prefix = name.slice(0, -distributionName.length);
    this.#distribution = Buffer.concat(chunks).toString('utf8');
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
  const entries = tarEntries(compressed, { what, signal, onBytes, layer: true });
  for await (const { content } of scan.watch(entries)) for await (const _ of content);
  return { diffId: `sha256:${uncompressed.digest('hex')}`, size, ...scan.result(what) };
}

/**
 * The same of a tarball that can be opened again. Where it is damaged, the error is that of its checksum: a flipped byte
 * breaks the archive long before its end is reached, and the checksum explains it better.
 * @param open gives the bytes, checked against what its manifest says while they stream
 */
export async function readCheckedFacts(
  open: () => Promise<Readable>,
  what: string,
  signal?: AbortSignal,
): Promise<LayerFacts> {
  try {
    return await readLayerFacts(await open(), what, signal);
  } catch (error) {
    if (!hasCode(error, 'compression', 'tarball')) throw error;
    signal?.throwIfAborted();
    for await (const _ of await open());
    throw error;
  }
}
