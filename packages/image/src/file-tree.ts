import { basename, dirname, join } from 'node:path';

/** What lies at a path of a layer. */
export type FileKind = 'file' | 'folder' | { readonly link: string };

/** What a layer of an image does to the files below it, and what its programs ask for. */
export interface LayerFiles {
  /** By absolute path. */
  readonly files: Readonly<Record<string, FileKind>>;
  /** Absolute paths that lower layers lose (`.wh.NAME`). */
  readonly removed: readonly string[];
  /** Folders that lose what lower layers have in them (`.wh..wh..opq`). */
  readonly emptied: readonly string[];
  /** Contents of small files that the runtime's behaviour depends on, by path. */
  readonly texts: Readonly<Record<string, string>>;
  /** What files of this layer need to start, of those that need anything. */
  readonly asking: readonly AskingFile[];
}

/** A file that needs others to start. */
export interface AskingFile {
  /** Absolute. */
  readonly path: string;
  readonly interpreters: readonly string[];
  readonly needed: readonly string[];
  /** As a package's statement has them. */
  readonly shebangs: readonly string[];
  /** The name under which others ask for it. */
  readonly provided: readonly string[];
}

/** Where the dynamic loader looks without being told, in glibc's and musl's order, multiarch folders of Debian included. */
const libraryFolders = ['/lib', '/usr/lib', '/lib64', '/usr/lib64', '/usr/local/lib'];
const mostLinks = 40;

/** The files of an image, or of some of its layers, as a container would see them. */
export class FileTree {
  readonly #files = new Map<string, FileKind>();
  readonly #texts = new Map<string, string>();
  #libraries: Set<string> | undefined;

  /** @param layers lowest first */
  constructor(layers: readonly LayerFiles[]) {
    for (const layer of layers) this.#add(layer);
  }

  /** The real path that links lead to; undefined where nothing is there. Paths that `leaves` names are answered as they are. */
  resolve(path: string, leaves: (path: string) => boolean = () => false): string | undefined {
    let left = partsOf(path);
    let at = '/';
    for (let links = 0; left.length > 0; ) {
      const [part = '', ...rest] = left;
      const next = part === '..' ? dirname(at) : join(at, part);
      if (leaves(join(next, ...rest))) return join(next, ...rest);
      const found = next === '/' ? 'folder' : this.#files.get(next);
      if (found === undefined) return undefined;
      if (typeof found === 'object') {
        links += 1;
        if (links > mostLinks) return undefined;
        left = [...partsOf(found.link), ...rest];
        if (found.link.startsWith('/')) at = '/';
        continue;
      }
      if (found === 'file' && rest.length > 0) return undefined;
      at = next;
      left = rest;
    }
    return at;
  }

  /** Whether a file is there, behind links or not. */
  isFile(path: string): boolean {
    const real = this.resolve(path);
    return real !== undefined && this.#files.get(real) === 'file';
  }

  /** Whether the dynamic loader finds a library of this name without a search path of its own. */
  hasLibrary(name: string): boolean {
    this.#libraries ??= this.#findLibraries();
    return this.#libraries.has(name);
  }

  /** The content of one of the small files that are kept, see `keptText`. */
  text(path: string): string | undefined {
    return this.#texts.get(path);
  }

  #add({ files, removed, emptied, texts }: LayerFiles): void {
    const gone = (path: string) =>
      removed.some((one) => path === one || path.startsWith(`${one}/`)) ||
      emptied.some((one) => path.startsWith(`${one}/`));
    if (removed.length + emptied.length > 0) {
      for (const path of [...this.#files.keys(), ...this.#texts.keys()]) {
        if (!gone(path)) continue;
        this.#files.delete(path);
        this.#texts.delete(path);
      }
    }
    for (const [path, kind] of Object.entries(files)) {
      // A folder of a layer does not replace a link to a folder where tools unpack one layer over the other.
      const below = this.#files.get(path);
      if (kind === 'folder' && typeof below === 'object') continue;
      this.#files.set(path, kind);
      for (let up = dirname(path); up !== '/' && !this.#files.has(up); up = dirname(up))
        this.#files.set(up, 'folder');
    }
    for (const [path, text] of Object.entries(texts)) this.#texts.set(path, text);
  }

  #findLibraries(): Set<string> {
    const folders = new Set(libraryFolders);
    for (const [path, text] of this.#texts) {
      if (!isLoaderConfiguration(path)) continue;
      for (const line of text.split('\n')) if (line.startsWith('/')) folders.add(line.trim());
    }
    const real = new Set([...folders].flatMap((folder) => this.resolve(folder) ?? []));
    const names = new Set<string>();
    for (const path of this.#files.keys()) {
      const folder = dirname(path);
      // Debian's loader knows one folder more below each: that of the architecture.
      const known = real.has(folder) || (/-linux-(gnu|musl)/.test(folder) && real.has(dirname(folder)));
      if (known && path.includes('.so') && this.isFile(path)) names.add(basename(path));
    }
    return names;
  }
}

/** Whether the content of a file is kept: users and groups, and where the dynamic loader looks. */
export function keptText(path: string): boolean {
  return path === '/etc/passwd' || path === '/etc/group' || isLoaderConfiguration(path);
}

function isLoaderConfiguration(path: string): boolean {
  return path === '/etc/ld.so.conf' || /^\/etc\/ld\.so\.conf\.d\/[^/]+\.conf$/.test(path);
}

function partsOf(path: string): string[] {
  return path.split('/').filter((part) => part !== '' && part !== '.');
}
