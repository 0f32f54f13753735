import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { isThere } from './is-there.js';

const placeholder = '__spack_path_placeholder__';

/**
 * The folder that really is an installation tree's root: where `config:install_tree:padded_length` is set, Spack puts
 * folders of its own below the configured root, and the database below those.
 * @param root the configured root
 */
export async function paddedRoot(root: string): Promise<string> {
  // The last folder is as long as it has to be: a part of the word, or one character more than it.
  for (let folder = root; ; ) {
    const names = await readdir(folder).catch(() => []);
    const padding = names.find((name) => placeholder.startsWith(name) || name === `${placeholder}_`);
    if (!padding) return (await isThere(join(folder, '.spack-db'))) ? folder : root;
    folder = join(folder, padding);
  }
}

/** A text in which the folders that pad an installation root are replaced by one short one, for people to read. */
export function withoutPadding(text: string): string {
  return text.replace(
    /(?:\/__spack_path_placeholder__)+(_?)((?:\/[_a-z]*)?)/g,
    (_all, _more: string, last: string) => `/[padded]${placeholder.startsWith(last.slice(1)) ? '' : last}`,
  );
}
