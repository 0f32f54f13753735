import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { HttpLimits, RetryPolicy } from '@stackwright/http';
import { StorageError } from './error.js';
import { FolderStore } from './folder.js';
import type { ObjectStore, StorageEvent } from './store.js';

export interface OpenOptions {
  /** Where credentials, profiles, endpoints, proxies and certificate authorities come from; `process.env` when left out. */
  readonly env?: NodeJS.ProcessEnv;
  /** What relative paths are relative to. */
  readonly cwd?: string;
  /** S3: the server's address, for servers other than Amazon's; else `S3_ENDPOINT_URL`. */
  readonly endpoint?: string;
  readonly region?: string;
  readonly profile?: string;
  /** S3: read without credentials. */
  readonly anonymous?: boolean;
  /** HTTP: sent as a bearer token. */
  readonly token?: string;
  readonly retry?: RetryPolicy;
  /** HTTP, and `connect` and `idle` of S3: time limits of each request; those of `HttpClient` when left out. */
  readonly limits?: Partial<HttpLimits>;
  readonly onEvent?: (event: StorageEvent) => void;
}

/**
 * Opens a store by its URL: `s3://BUCKET/PREFIX`, `http(s)://…` (to read only), `file:///PATH`, or a path.
 * @throws StorageError `invalid` for anything else
 */
export async function openStore(url: string, options: OpenOptions = {}): Promise<ObjectStore> {
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(url)?.[1]?.toLowerCase();
  switch (scheme) {
    case undefined:
      if (url === '') throw new StorageError('invalid', 'An empty address is no mirror.');
      return folderAt(resolve(options.cwd ?? process.cwd(), url));
    case 'file':
      return folderAt(folderOf(url));
    case 'http':
    case 'https':
      if (!URL.canParse(url)) throw new StorageError('invalid', 'The mirror address is no valid URL.');
      // What is not on this machine is loaded only when needed: it takes a while to start.
      return new (await import('./http.js')).HttpStore(url, options);
    case 's3': {
      const { S3Store } = await import('./s3.js');
      return S3Store.open(url, options);
    }
    default:
      throw new StorageError('invalid', `Mirrors at ${scheme}:// are not known.`, {
        hint: 'Known: a path, file://, http(s):// and s3:// (and oci:// for build caches).',
      });
  }
}

/** A folder, or what will become one with the first write. */
function folderAt(path: string): FolderStore {
  if (statSync(path, { throwIfNoEntry: false })?.isFile()) {
    throw new StorageError('invalid', `${path} is a file, not a folder.`);
  }
  return new FolderStore(path);
}

function folderOf(url: string): string {
  try {
    return fileURLToPath(url);
  } catch (error) {
    throw new StorageError('invalid', `${url} is no valid file URL: ${(error as Error).message}.`, {
      hint: 'Write file:///absolute/path.',
    });
  }
}
