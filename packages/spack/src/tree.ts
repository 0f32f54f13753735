import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { isThere } from './is-there.js';

/**
 * The folder that really is an installation tree's root: where `config:install_tree:padded_length` is set, Spack puts
 * folders of its own below the configured root, and the database below those.
 * @param root the configured root
 */
export async function paddedRoot(root: string): Promise<string> {
  const placeholder = '__spack_path_placeholder__';
  // The last folder is as long as it has to be: a part of the word, or one character more than it.
  for (let folder = root; ; ) {
    const names = await readdir(folder).catch(() => []);
    const padding = names.find((name) => placeholder.startsWith(name) || name === `${placeholder}_`);
    if (!padding) return (await isThere(join(folder, '.spack-db'))) ? folder : root;
    folder = join(folder, padding);
  }
}
