import { basename, isAbsolute, join, relative } from 'node:path/posix';
import { isMap, isScalar, isSeq, parseDocument, type Scalar } from 'yaml';
import { JobGraphError } from '../error.js';

/**
 * The manifest for a copy of the environment in another folder: relative includes, package repositories and mirrors
 * lead to the same files from there. (Spack moves includes only, and loses the other two.)
 * Comments and layout stay; a manifest without such includes stays the same to the byte.
 * @param text of the `spack.yaml`
 * @param from its folder; `to` the copy's folder, both absolute
 * @throws JobGraphError (`input`) for broken YAML or a file without `spack:`
 */
export function relocateManifest(text: string, from: string, to: string): string {
  return withPaths(text, join(from, 'spack.yaml'), ({ path }) => relocateInclude(path, from, to));
}

/** A path that stands in a manifest or in a configuration file. */
export interface ManifestPath {
  readonly section: 'include' | 'include_concrete' | 'repos' | 'mirrors';
  /** As written: it may be a URL, or have variables. */
  readonly path: string;
}

/**
 * The paths in a manifest or in a configuration file that it includes.
 * @param file its path, for messages
 * @throws JobGraphError (`input`) for broken YAML, or a `spack.yaml` without `spack:`
 */
export function pathsOf(text: string, file: string): ManifestPath[] {
  const found: ManifestPath[] = [];
  withPaths(text, file, (one) => {
    found.push(one);
    return one.path;
  });
  return found;
}

/** The same text with other paths; comments and layout stay. @param move gives the new path for each */
export function withPaths(text: string, file: string, move: (one: ManifestPath) => string): string {
  // Many stacks name no files, and reading a manifest costs more than the rest of writing a small pipeline.
  if (!/\b(?:include|include_concrete|repos|mirrors)\b/.test(text)) return text;
  const document = parseDocument(text, { keepSourceTokens: true });
  const [broken] = document.errors;
  if (broken) throw new JobGraphError('broken-yaml', `${file}: ${broken.message}`);
  const top = basename(file) === 'spack.yaml' ? document.get('spack') : document.contents;
  if (!isMap(top)) {
    if (basename(file) !== 'spack.yaml') return text;
    throw new JobGraphError('no-spack', `${file}: has no "spack:" section.`);
  }
  const edits: { readonly node: Scalar; readonly value: string }[] = [];
  const look = (section: ManifestPath['section']) => (node: unknown) => {
    if (!isScalar(node) || typeof node.value !== 'string') return;
    const value = move({ section, path: node.value });
    if (value !== node.value) edits.push({ node, value });
  };
  for (const pair of top.items) {
    const section = isScalar(pair.key) ? String(pair.key.value).replace(/[:+-]$/, '') : '';
    if (section === 'repos' || section === 'mirrors') lookBelow(pair.value, look(section));
    if (section !== 'include' && section !== 'include_concrete') continue;
    for (const item of isSeq(pair.value) ? pair.value.items : []) {
      // Of a dict with a git repository the paths are inside of that.
      if (isMap(item)) {
        if (!item.has('git')) look(section)(item.get('path', true));
      } else look(section)(item);
    }
  }
  // Spliced into the text itself, from its end: writing the document anew would lay out everything anew.
  let result = text;
  for (const { node, value } of edits.sort((a, b) => b.node.range![0] - a.node.range![0])) {
    const [start, end] = node.range!;
    result = result.slice(0, start) + JSON.stringify(value) + result.slice(end);
  }
  return result;
}

/** Paths of `repos:` and `mirrors:`: the value of a name, or the `path`, `url`, `fetch` and `push` below it. */
function lookBelow(section: unknown, look: (node: unknown) => void): void {
  if (isSeq(section)) for (const item of section.items) look(item);
  if (!isMap(section)) return;
  for (const { value } of section.items) {
    look(value);
    if (!isMap(value) || value.has('git')) continue;
    for (const key of ['path', 'url', 'fetch', 'push']) {
      const node = value.get(key, true);
      look(node);
      if (isMap(node)) look(node.get('url', true));
    }
  }
}

/** One include path, as seen from `to` instead of `from`. What is absolute, remote, or under Spack stays. */
function relocateInclude(path: string, from: string, to: string): string {
  if (/^[a-z][a-z0-9+.-]*:/i.test(path) || isAbsolute(path)) return path;
  const own = path.replace(/^\$\{?env\}?(?=\/|$)/, '.');
  // A variable at the start ($spack, ~) makes it absolute; one further on ($arch) is no matter here.
  if (/^[$~]/.test(own)) return path;
  const moved = relative(to, join(from, own));
  return moved.startsWith('.') ? moved : `./${moved}`;
}
