import { access, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SpackError } from './error.js';

/** A package that a Spack installation tree holds. */
export interface Installed {
  readonly hash: string;
  readonly name: string;
  readonly version: string;
  /** Absolute; undefined for an external without a prefix. */
  readonly prefix: string | undefined;
  readonly external: boolean;
  readonly explicit: boolean;
}

/**
 * Reads the database of an installation tree (`.spack-db/index.json`, database versions 5 to 8), without starting Spack.
 * @param root the tree's folder
 * @returns what is installed, by dag hash; empty where there is no database yet
 */
export async function readInstalled(root: string): Promise<Map<string, Installed>> {
  const file = join(root, '.spack-db/index.json');
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (text === undefined) return new Map();
  const { database } = JSON.parse(text) as { database?: { installs?: Record<string, DatabaseRecord> } };
  if (!database?.installs) throw new SpackError('input', `${file} is not a Spack database.`);
  const found = new Map<string, Installed>();
  for (const [hash, record] of Object.entries(database.installs)) {
    if (!record.installed) continue;
    const external = record.spec.external !== undefined && record.spec.external !== null;
    const prefix = record.path && record.path !== 'None' ? record.path : undefined;
    found.set(hash, {
      hash,
      name: record.spec.name,
      version: record.spec.version,
      prefix,
      external,
      explicit: record.explicit,
    });
  }
  return found;
}

/**
 * The folder that really is an installation tree's root: where `config:install_tree:padded_length` is set, Spack puts
 * folders of its own below the configured root, and the database below those.
 * @param root the configured root
 */
export async function paddedRoot(root: string): Promise<string> {
  const placeholder = '__spack_path_placeholder__';
  for (let folder = root; ; ) {
    const names = await readdir(folder).catch(() => []);
    const padding = names.find((name) => name.length > 1 && placeholder.startsWith(name));
    if (!padding) {
      const found = await access(join(folder, '.spack-db')).then(
        () => true,
        () => false,
      );
      return found ? folder : root;
    }
    folder = join(folder, padding);
  }
}

interface DatabaseRecord {
  readonly installed: boolean;
  readonly explicit: boolean;
  readonly path: string | null;
  readonly spec: { readonly name: string; readonly version: string; readonly external?: unknown };
}
