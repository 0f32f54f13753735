import { createHash } from 'node:crypto';
import { basename, dirname, join } from 'node:path';
import type { Finding, Position } from '../error.js';
import { SpackEnvError } from '../error.js';
import type { ConditionFacts } from './condition.js';
import { evaluateCondition } from './condition.js';
import type { ConfigEntry, ConfigNode, MapNode } from './node.js';
import { mergeNodes, nodeAt, parseConfig, readNodes, textOf, textPlace } from './node.js';
import type { FileReader, RemoteFetcher } from './reader.js';
import type { FileKind } from './schema.js';
import { sections as knownSections, validate } from './schema.js';
import type { VariableFacts } from './variables.js';
import { isRemote, resolvePath } from './variables.js';

/** A place that configuration comes from: the manifest, a file, or a folder with a file for each section. */
export interface Scope {
  readonly name: string;
  readonly path: string;
  readonly sections: ReadonlyMap<string, ConfigEntry>;
  /** What it includes, highest precedence first. */
  readonly included: readonly Scope[];
  /** The lock files of other environments that it includes; absolute paths. */
  readonly locks: readonly string[];
  /** `include::`: nothing but itself and what it includes counts. */
  readonly isolated: boolean;
}

export interface ScopeLoader {
  readonly files: FileReader;
  readonly fetch: RemoteFetcher;
  readonly variables: VariableFacts;
  readonly conditions: ConditionFacts;
  readonly findings: Finding[];
  /** Folders of the repositories that were included. */
  readonly fetched: string[];
  readonly signal: AbortSignal | undefined;
}

/** Reads a scope's own includes, whose paths are relative to `folder`. */
export async function makeScope(
  name: string,
  path: string,
  folder: string,
  sections: ReadonlyMap<string, ConfigEntry>,
  loader: ScopeLoader,
  above: readonly string[] = [],
): Promise<Scope> {
  const include = sections.get('include');
  const items = include?.node.kind === 'list' ? include.node.items : [];
  const included: Scope[] = [];
  const locks = new Set<string>();
  for (const item of items) {
    for (const found of await includeItem(item, folder, loader, [...above, path])) {
      if ('lock' in found) locks.add(found.lock);
      else if (!included.some((other) => other.path === found.path)) included.push(found);
    }
  }
  return { name, path, sections, included, locks: [...locks], isolated: include?.mode === 'override' };
}

/** What an element of `include` gives: configuration, or the concrete specs of another environment. */
type Included = Scope | { readonly lock: string };

async function includeItem(
  item: ConfigNode,
  folder: string,
  loader: ScopeLoader,
  above: readonly string[],
): Promise<Included[]> {
  loader.signal?.throwIfAborted();
  try {
    const when = nodeAt(item, 'when');
    const condition = textOf(when);
    if (condition && !evaluateCondition(condition, loader.conditions, textPlace(when!))) return [];
    const git = textOf(nodeAt(item, 'git'));
    if (git !== undefined) return await includeGit(git, item, loader, above);
    const override = textOf(nodeAt(item, 'path_override_env_var'));
    const node = item.kind === 'scalar' ? item : nodeAt(item, 'path');
    const text = (override && loader.conditions.env[override]) || textOf(node);
    if (!text) return [];
    const path = resolvePath(text, folder, loader.variables);
    const scope = isRemote(path)
      ? await includeUrl(path, item, node!.at, loader)
      : await includePath(path, text, item, loader, above);
    return scope ? [scope] : [];
  } catch (error) {
    if (!(error instanceof SpackEnvError)) throw error;
    loader.findings.push(...error.findings);
    return [];
  }
}

const isOptional = (item: ConfigNode): boolean => {
  const node = nodeAt(item, 'optional');
  return node?.kind === 'scalar' && node.value === true;
};

const fail = (code: string, message: string, position: Position, hint?: string): never => {
  throw new SpackEnvError({ severity: 'error', code, message, position, hint });
};

async function includePath(
  path: string,
  text: string,
  item: ConfigNode,
  loader: ScopeLoader,
  above: readonly string[],
): Promise<Included | undefined> {
  const at = (nodeAt(item, 'path') ?? item).at;
  if (above.includes(path)) {
    fail(
      'cyclic-include',
      `${path} includes itself, by ${above.slice(above.indexOf(path) + 1).join(', ') || 'its own include'}.`,
      at,
    );
  }
  const kind = await loader.files.kind(path);
  if (kind === undefined) {
    if (isOptional(item)) return undefined;
    const unfilled = /\$(?:\w+|\{\w+\})/.exec(path)?.[0];
    // What lies in Spack's own folder can only be read where Spack is known: the rest of the stack still makes sense.
    if (unfilled && /^\$\{?spack\}?$/i.test(unfilled)) {
      loader.findings.push({
        severity: 'warning',
        code: 'include-in-spack',
        message: `The included ${text} is in Spack's own folder, which is not known here; it is left out.`,
        position: at,
        hint: 'Set SPACK_ROOT to read it.',
      });
      return undefined;
    }
    return fail(
      'missing-include',
      `The included ${text} does not exist${path === text ? '' : ` (${path})`}.`,
      at,
      unfilled ? `${unfilled} has no value.` : 'Correct the path, or set "optional: true".',
    );
  }
  if (kind === 'other') failOther(text, path, at);
  if (kind === 'folder') return readFolder(path, loader, above);
  return basename(path) === 'spack.lock' ? { lock: path } : readFileScope(path, loader, above);
}

function failOther(text: string, path: string, at: Position): never {
  return fail(
    'bad-include',
    `The included ${text}${path === text ? '' : ` (${path})`} is no plain file or folder that can be read.`,
    at,
    'Pipes, devices and the files of /proc and /sys are not read.',
  );
}

async function readFileScope(path: string, loader: ScopeLoader, above: readonly string[]): Promise<Scope> {
  const root = await readConfig(path, 'scope', loader);
  return makeScope(path, path, dirname(path), entriesOf(root), loader, above);
}

async function readFolder(path: string, loader: ScopeLoader, above: readonly string[]): Promise<Scope> {
  const sections = new Map<string, ConfigEntry>();
  const names = await loader.files.list?.(path);
  for (const section of Object.keys(knownSections)) {
    if (names && !names.includes(`${section}.yaml`)) continue;
    const file = join(path, `${section}.yaml`);
    if (!names && (await loader.files.kind(file)) !== 'file') continue;
    const entry = entriesOf(await readConfig(file, { section }, loader)).get(section);
    if (entry) sections.set(section, entry);
  }
  return makeScope(path, path, path, sections, loader, above);
}

async function readConfig(path: string, kind: FileKind, loader: ScopeLoader): Promise<ConfigNode> {
  return checked(await loader.files.read(path), path, kind, loader);
}

function checked(text: string, file: string, kind: FileKind, loader: ScopeLoader): ConfigNode {
  const root = readNodes(parseConfig(text, file));
  const empty = root.kind === 'scalar' && root.value === null;
  if (!empty) loader.findings.push(...validate(root, kind));
  return root;
}

const entriesOf = (root: ConfigNode): MapNode['entries'] => (root.kind === 'map' ? root.entries : new Map());

/** What a remote include gives; undefined, with a warning, where it is left out. */
async function fetched<T>(
  item: ConfigNode,
  loader: ScopeLoader,
  position: Position,
  what: string,
  fetch: () => Promise<T | undefined> | undefined,
): Promise<T | undefined> {
  let why = '';
  const result = await fetch()?.catch((error: unknown) => {
    loader.signal?.throwIfAborted();
    if (!isOptional(item)) throw error;
    why = `: ${(error as Error).message.replace(/\.$/, '')}`;
    return undefined;
  });
  if (result === undefined) {
    loader.findings.push({
      severity: 'warning',
      code: 'remote-include',
      message: `${what} was not fetched; it is left out${why}.`,
      position,
    });
  }
  return result;
}

async function includeUrl(
  url: string,
  item: ConfigNode,
  at: Position,
  loader: ScopeLoader,
): Promise<Scope | undefined> {
  if (!/^(?:https?|ftp):/i.test(url))
    fail('bad-include', `${url} cannot be included.`, at, 'Use http, https or ftp.');
  const sha256 = textOf(nodeAt(item, 'sha256'))?.toLowerCase() ?? '';
  if (!sha256)
    fail('missing-checksum', `The included ${url} has no checksum.`, at, 'Add "sha256:" of the file.');
  if (!/^[0-9a-f]{64}$/.test(sha256)) {
    fail('bad-checksum', `"${sha256}" is no SHA-256 checksum.`, at, 'Write all 64 hexadecimal digits.');
  }
  // A page of a forge shows a file; the raw form is the file.
  const raw = /github|gitlab/.test(url) ? url.replace('/blob/', '/raw/') : url;
  const bytes = await fetched(item, loader, at, `The included ${url}`, () =>
    loader.fetch.url?.({ url: raw, sha256, at }, loader.signal),
  );
  if (!bytes) return undefined;
  const found = createHash('sha256').update(bytes).digest('hex');
  if (found !== sha256) {
    fail(
      'wrong-checksum',
      `The included ${url} has the checksum ${found}, not ${sha256}.`,
      at,
      'Look at what changed before you take it over.',
    );
  }
  const root = checked(new TextDecoder().decode(bytes), url, 'scope', loader);
  return makeScope(url, url, loader.variables.environment, entriesOf(root), loader);
}

async function includeGit(
  url: string,
  item: ConfigNode,
  loader: ScopeLoader,
  above: readonly string[],
): Promise<Scope[]> {
  const at = nodeAt(item, 'git')!.at;
  const [branch, commit, tag] = ['branch', 'commit', 'tag'].map((key) => textOf(nodeAt(item, key)));
  if (!branch && !commit && !tag) {
    fail(
      'bad-include',
      `The included repository ${url} has no branch, commit or tag.`,
      at,
      'Add one; a commit never changes.',
    );
  }
  if (commit && !/^[0-9a-f]{40}(?:[0-9a-f]{24})?$/.test(commit)) {
    fail(
      'bad-include',
      `"${commit}" is no whole commit.`,
      nodeAt(item, 'commit')!.at,
      'Write all of its 40 digits.',
    );
  }
  const paths = nodeAt(item, 'paths');
  const folder = await fetched(item, loader, at, `The included repository ${url}`, () =>
    loader.fetch.git?.({ url, branch, commit, tag, at }, loader.signal),
  );
  if (folder === undefined) return [];
  loader.fetched.push(folder);
  const scopes: Scope[] = [];
  for (const node of paths?.kind === 'list' ? paths.items : []) {
    const text = textOf(node) ?? '';
    const path = join(folder, text);
    if (path !== folder && !path.startsWith(`${folder}/`)) {
      fail('bad-include', `${text} leads out of the repository.`, node.at);
    }
    const kind = await loader.files.kind(path);
    if (kind === undefined) {
      if (!isOptional(item)) fail('missing-include', `The repository ${url} has no ${text}.`, node.at);
      continue;
    }
    if (kind === 'other') failOther(text, path, node.at);
    scopes.push(
      await (kind === 'folder' ? readFolder(path, loader, above) : readFileScope(path, loader, above)),
    );
  }
  return scopes;
}

/** A scope and all that it includes, lowest precedence first. */
export function flattenScopes(scope: Scope): Scope[] {
  return [...[...scope.included].reverse().flatMap(flattenScopes), scope];
}

/** The sections of all scopes, joined. Scopes come lowest precedence first. */
export function mergeScopes(scopes: readonly Scope[]): Map<string, ConfigNode> {
  const isolated = scopes.findLastIndex((scope) => scope.isolated);
  const kept = isolated < 0 ? scopes : insideOf(scopes, isolated);
  const merged = new Map<string, ConfigNode>();
  for (const scope of kept) {
    for (const [section, entry] of scope.sections) {
      if (section === 'include') continue;
      merged.set(section, mergeNodes(merged.get(section), entry.node, entry.mode));
    }
  }
  return merged;
}

function insideOf(scopes: readonly Scope[], isolated: number): Scope[] {
  const inside = new Set(flattenScopes(scopes[isolated]!));
  return scopes.filter((scope, i) => i >= isolated || inside.has(scope));
}
