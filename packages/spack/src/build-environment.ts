import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { isAbsolute, join, resolve } from 'node:path';
import { type Document, isMap, isScalar, isSeq, type Pair, parseDocument, type YAMLMap } from 'yaml';

/** The mirror that a run reads and writes. */
export interface BuildMirror {
  /** The stack's own name of it, or a new one. */
  readonly name: string;
  readonly url: string;
  readonly signed: boolean;
}

export interface BuildEnvironmentOptions {
  /**
   * The run's mirror, which comes before all others. Where the stack or a lower scope has a mirror of this name, this one
   * stands in its place and keeps its credentials, so that no mirror is listed twice. Left out, none is added.
   */
  readonly mirror?: BuildMirror;
  /** Replaces the stack's installation root. */
  readonly installRoot?: string;
  /** Length that the installation root is padded to, in characters. */
  readonly paddedLength?: number;
}

/**
 * Writes the environment that a run builds in: a copy of the stack's `spack.yaml` with this run's mirror and root, no
 * view, and relative paths made absolute, beside its unchanged `spack.lock`. The stack's other mirrors, of sources or of
 * further binaries, stay. The stack's own folder is not written to.
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
  if (options.mirror) putMirrorFirst(document, top, options.mirror);
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

/** Spack asks mirrors in the order in which they stand. */
function putMirrorFirst(document: Document, top: string, { name, url, signed }: BuildMirror): void {
  const section = document.hasIn([top, 'mirrors:']) ? 'mirrors:' : 'mirrors';
  const mirrors = document.getIn([top, section]);
  const others = isMap(mirrors) ? mirrors.items : [];
  const named = (pair: Pair) => String(isScalar(pair.key) ? pair.key.value : pair.key) === name;
  const before = others.find(named)?.value;
  const entry = (isMap(before) ? before : document.createNode({})) as YAMLMap;
  entry.delete('url');
  // For each direction: an address that a lower scope has for one of them would win over a common one.
  for (const direction of ['fetch', 'push']) {
    const own = entry.get(direction);
    if (isMap(own)) own.set('url', url);
    else entry.set(direction, document.createNode({ url }));
  }
  entry.set('signed', signed);
  const all = document.createNode({}) as YAMLMap;
  all.items = [document.createPair(name, entry), ...others.filter((pair) => !named(pair))];
  document.setIn([top, section], all);
}

/** Paths of these sections are relative to the file that they stand in. */
function absolutePaths(document: Document, top: string, base: string): void {
  const fix = (node: unknown, keys: readonly string[]): void => {
    if (isScalar(node) && typeof node.value === 'string' && isRelativePath(node.value))
      node.value = join(base, node.value);
    else if (isMap(node)) for (const key of keys) fix(node.get(key, true), keys);
  };
  for (const section of ['repos', 'include', 'develop', 'include_concrete', 'mirrors']) {
    for (const spelled of [section, `${section}:`]) {
      const node = document.getIn([top, spelled], true);
      if (isSeq(node)) for (const item of node.items) fix(item, ['path']);
      else if (isMap(node))
        for (const pair of node.items) fix(pair.value, ['path', 'destination', 'url', 'fetch', 'push']);
    }
  }
}

function isRelativePath(text: string): boolean {
  return !isAbsolute(text) && !/^[$~]|^[a-z][a-z0-9+.-]*:\/\/|^git@/i.test(text);
}
