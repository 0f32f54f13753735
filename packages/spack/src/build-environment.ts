import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { isAbsolute, join, resolve } from 'node:path';
import { type Document, isMap, isScalar, isSeq, parseDocument } from 'yaml';

export interface BuildEnvironmentOptions {
  /** The mirrors that builds take dependencies from, by name; they replace the stack's own. */
  readonly mirrors: Readonly<Record<string, { readonly url: string; readonly signed: boolean }>>;
  /** Replaces the stack's installation root. */
  readonly installRoot?: string;
  /** Length that the installation root is padded to, in characters. */
  readonly paddedLength?: number;
}

/**
 * Writes the environment that a run builds in: a copy of the stack's `spack.yaml` with this run's mirrors and root, no
 * view, and relative paths made absolute, beside its unchanged `spack.lock`. The stack's own folder is not written to.
 * @param stack folder of the stack; @param folder where to write
 */
export async function writeBuildEnvironment(
  stack: string,
  folder: string,
  options: BuildEnvironmentOptions,
): Promise<void> {
  const document = parseDocument(await readFile(join(stack, 'spack.yaml'), 'utf8'));
  const top = document.has('spack') ? 'spack' : 'env';
  absolutePaths(document, top, resolve(stack));
  document.deleteIn([top, 'mirrors:']);
  document.deleteIn([top, 'mirrors']);
  // Two colons: nothing of lower scopes is merged in.
  document.setIn([top, 'mirrors:'], document.createNode(options.mirrors));
  document.setIn([top, 'view'], false);
  if (options.installRoot) {
    document.setIn([top, 'config', 'install_tree'], {
      root: options.installRoot,
      ...(options.paddedLength ? { padded_length: options.paddedLength } : {}),
    });
  }
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'spack.yaml'), String(document));
  await writeFile(join(folder, 'spack.lock'), await readFile(join(stack, 'spack.lock')));
}

/** Paths of `repos`, `include` and `develop` are relative to the file that they stand in. */
function absolutePaths(document: Document, top: string, base: string): void {
  const fix = (node: unknown, keys: readonly string[]): void => {
    if (isScalar(node) && typeof node.value === 'string' && isRelativePath(node.value))
      node.value = join(base, node.value);
    else if (isMap(node)) for (const key of keys) fix(node.get(key, true), keys);
  };
  for (const section of ['repos', 'include', 'develop', 'include_concrete']) {
    for (const spelled of [section, `${section}:`]) {
      const node = document.getIn([top, spelled], true);
      if (isSeq(node)) for (const item of node.items) fix(item, ['path']);
      else if (isMap(node)) for (const pair of node.items) fix(pair.value, ['path', 'destination']);
    }
  }
}

function isRelativePath(text: string): boolean {
  return !isAbsolute(text) && !/^[$~]|^[a-z][a-z0-9+.-]*:\/\/|^git@/i.test(text);
}
