import { readdir } from 'node:fs/promises';
import type { Position } from '../error.js';
import { fileKind, readPlainFile } from '../plain-file.js';

/** How files are looked at. Paths are absolute. */
export interface FileReader {
  /** `undefined` for a path where nothing is, `other` for what cannot be read as a file, such as a pipe. */
  readonly kind: (path: string) => Promise<'file' | 'folder' | 'other' | undefined>;
  /** A file's text. */
  readonly read: (path: string) => Promise<string>;
  /** The names in a folder. Without it each file that may be there is asked for. */
  readonly list?: (path: string) => Promise<readonly string[]>;
}

/** A file that an `include` names by its URL. */
export interface UrlSource {
  readonly url: string;
  /** What its content must have: 64 hexadecimal digits in lower case. */
  readonly sha256: string;
  /** Where the include is. */
  readonly at: Position;
}

/** A repository that an `include` names. At least one of branch, commit and tag is there. */
export interface GitSource {
  readonly url: string;
  readonly branch: string | undefined;
  /** Whole. It counts more than branch and tag. */
  readonly commit: string | undefined;
  readonly tag: string | undefined;
  /** Where the include is. */
  readonly at: Position;
}

/**
 * How remote includes are had. This package has no network of its own. What gives `undefined` is left out with a warning;
 * an error ends the reading, unless the include is optional.
 */
export interface RemoteFetcher {
  /** The bytes behind a URL; they are checked here. */
  readonly url?: (source: UrlSource, signal?: AbortSignal) => Promise<Uint8Array | undefined>;
  /** A local folder with the repository's files. */
  readonly git?: (source: GitSource, signal?: AbortSignal) => Promise<string | undefined>;
}

/** Files of this machine. */
export const nodeFiles: FileReader = {
  kind: fileKind,
  read: (path) => readPlainFile(path),
  list: (path) => readdir(path),
};
