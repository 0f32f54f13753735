import { homedir, hostname as nodeHostname, tmpdir, userInfo } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import type { Document } from 'yaml';
import type { Finding, Position } from '../error.js';
import { SpackEnvError } from '../error.js';
import { defaultGroup } from '../lock/lock.js';
import { formatLegacySpec, formatSpec } from '../spec/format.js';
import type { ParseOptions, Toolchains } from '../spec/parse.js';
import { parseSpec } from '../spec/parse.js';
import type { Spec } from '../spec/spec.js';
import type { SpecItem } from './definition.js';
import { expandItems, readDefinitions, readItems } from './definition.js';
import { withoutForeignTexts } from './foreign.js';
import type { HostArchitecture } from './host.js';
import { hostArchitecture } from './host.js';
import { upgradeDocument } from './legacy.js';
import type { Mirror } from './mirror.js';
import { readMirrors } from './mirror.js';
import { nearest } from './nearest.js';
import type { ConfigNode, MapNode } from './node.js';
import { nodeAt, parseConfig, plainValue, readNodes, textOf } from './node.js';
import type { FileReader, RemoteFetcher } from './reader.js';
import { nodeFiles } from './reader.js';
import { validate } from './schema.js';
import type { Scope, ScopeLoader } from './scope.js';
import { flattenScopes, makeScope, mergeScopes } from './scope.js';
import type { VariableFacts } from './variables.js';
import { resolvePath } from './variables.js';
import { withheldReferences } from './withheld.js';

export interface LoadOptions {
  /** What Spack would call the machine; this one's names where left out. */
  readonly host?: Partial<HostArchitecture> | undefined;
  readonly hostname?: string | undefined;
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
  /** Variables of `env` that hold secrets: paths, URLs and conditions are read as if they were not set. */
  readonly withheld?: ((name: string) => boolean) | undefined;
  readonly home?: string | undefined;
  readonly user?: string | undefined;
  readonly tempdir?: string | undefined;
  /** Where Spack is, for `$spack`; `SPACK_ROOT` of `env` where left out. */
  readonly spack?: string | undefined;
  /** How files are read; from this machine where left out. */
  readonly files?: FileReader | undefined;
  /** How git and URL includes are had; where left out they are reported and left out. */
  readonly fetch?: RemoteFetcher | undefined;
  /** Folders or files of configuration below the environment's own, lowest precedence first. */
  readonly lower?: readonly string[] | undefined;
  /**
   * `0.x`: read and print specs as Spack 0.23 did; see {@link ParseOptions}. Where left out, a stack of the
   * pipelines that Spack 0.x had in its own repository is known by what it lacks.
   */
  readonly dialect?: '0.x' | '1.x' | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** One root that the environment asks for. */
export interface RootSpec {
  /** As the user wrote it: a toolchain is still its name. */
  readonly spec: Spec;
  /** As Spack prints it. */
  readonly text: string;
  /** The group of `specs:` that it is in; `default` for those outside of groups. */
  readonly group: string;
  readonly at: Position;
}

/** A group of `specs:`. */
export interface SpecGroup {
  readonly name: string;
  /** Groups that must be concretized first. */
  readonly needs: readonly string[];
  /** Configuration that holds for this group only, by section. */
  readonly override: Readonly<Record<string, unknown>>;
  /** Whether its specs count as asked for by the user; where not, they are garbage once nothing needs them. */
  readonly explicit: boolean;
  /** Where it is first named. */
  readonly at: Position;
}

export interface View {
  readonly name: string;
  /** Absolute. */
  readonly root: string;
  readonly link: 'roots' | 'all' | 'run';
  readonly linkType: string;
  readonly select: readonly string[];
  readonly exclude: readonly string[];
  readonly projections: Readonly<Record<string, string>>;
}

/** What a `spack.yaml` and all that it includes say. */
export interface Environment {
  /** Absolute. */
  readonly folder: string;
  /** The manifest's path. */
  readonly file: string;
  readonly specs: readonly RootSpec[];
  readonly groups: readonly SpecGroup[];
  /** The merged configuration by section, as plain values; see {@link plainValue} for keys inside of lists. */
  readonly config: Readonly<Record<string, unknown>>;
  /** The same with places, for messages. */
  readonly nodes: ReadonlyMap<string, ConfigNode>;
  readonly mirrors: readonly Mirror[];
  readonly views: readonly View[];
  /** Packages built from the user's own source: name, spec and absolute path. */
  readonly develop: readonly { readonly name: string; readonly spec: string; readonly path: string }[];
  readonly toolchains: Toolchains;
  /** Folders of other environments whose concrete specs are taken over; absolute. */
  readonly includeConcrete: readonly string[];
  /** All scopes, lowest precedence first; the last is the manifest. */
  readonly scopes: readonly Scope[];
  /** Everything that is wrong, doubtful or was upgraded. */
  readonly findings: readonly Finding[];
  /** The manifest after upgrades, for edits that keep comments. */
  readonly document: Document;
  /** Whether the manifest is in an older form; `upgradeManifest` writes the current one. */
  readonly legacy: boolean;
  /** How specs were read. */
  readonly dialect: '0.x' | '1.x';
  /** What variables stand for, for paths in sections that are not read here. */
  readonly variables: VariableFacts;
}

/**
 * Reads an environment: its manifest, what it includes, and the roots that it asks for.
 * @param path the folder with `spack.yaml`, or the file itself
 * @returns also for a faulty environment: look at `findings`
 * @throws SpackEnvError where no manifest is, or it is no YAML
 */
export async function loadEnvironment(path: string, options: LoadOptions = {}): Promise<Environment> {
  const files = options.files ?? nodeFiles;
  const file = await findManifest(path, files);
  return readEnvironment(await files.read(file), file, options);
}

/** The same from the manifest's text; `file` says where relative paths start. */
export async function readEnvironment(
  text: string,
  file: string,
  options: LoadOptions = {},
): Promise<Environment> {
  try {
    return await readManifest(text, file, options);
  } catch (error) {
    if (!(error instanceof SpackEnvError)) throw error;
    // The manifest itself may be a link to a file that is not the stack's.
    throw new SpackEnvError(withoutForeignTexts(error.findings, dirname(resolve(file)), homeOf(options)));
  }
}

async function readManifest(text: string, file: string, options: LoadOptions): Promise<Environment> {
  const findings: Finding[] = [];
  const manifest = resolve(file);
  const folder = dirname(manifest);
  const variables = variableFacts(folder, options);
  const conditions = {
    host: variables.host,
    hostname: options.hostname ?? nodeHostname(),
    env: variables.env,
  };

  const source = parseConfig(text, file);
  const upgrades = upgradeDocument(source);
  const root = readNodes(source);
  const spack = manifestBody(root, file);
  const dialect = options.dialect ?? guessDialect(spack, findings);
  const wrong = validate(root, 'manifest');
  const older = upgrades.length > 0 || dialect === '0.x';
  findings.push(...upgrades, ...(older ? wrong.map(forgive) : wrong), ...ignoredKeys(spack));

  const loader: ScopeLoader = {
    files: options.files ?? nodeFiles,
    fetch: options.fetch ?? {},
    variables,
    conditions,
    findings,
    fetched: [],
    signal: options.signal,
  };
  const own = await makeScope('environment', manifest, folder, sectionsOf(spack), loader);
  const lower = await lowerScopes(options.lower ?? [], folder, loader);
  const scopes = [...lower, own].flatMap(flattenScopes);
  const nodes = mergeScopes(scopes);
  findings.push(...withheldReferences(scopes, options));

  const config: Record<string, unknown> = {};
  for (const [section, node] of nodes) config[section] = plainValue(node);
  const definitions = readDefinitions(nodes.get('definitions'), conditions, findings);
  const includeConcrete = [
    ...(await readIncludeConcrete(nodeAt(spack, 'include_concrete'), folder, loader)),
    ...includedLocks(scopes),
  ];
  const { specs, groups } = readRoots(
    nodeAt(spack, 'specs'),
    definitions,
    { host: variables.host, dialect },
    findings,
  );
  return {
    folder,
    file: manifest,
    specs,
    groups,
    config,
    nodes,
    mirrors: readMirrors(nodes.get('mirrors'), variables),
    views: readViews(nodes.get('view'), folder, variables),
    develop: readDevelop(nodes.get('develop'), folder, variables),
    toolchains: readToolchains(nodes.get('toolchains'), findings),
    includeConcrete,
    scopes,
    findings: withoutForeignTexts(findings, folder, variables.home, loader.fetched),
    document: source.document,
    legacy: upgrades.length > 0,
    dialect,
    variables,
  };
}

async function findManifest(path: string, files: FileReader): Promise<string> {
  const absolute = resolve(path);
  const kind = await files.kind(absolute);
  if (kind === 'file') return absolute;
  const file = join(absolute, 'spack.yaml');
  if (kind === 'folder' && (await files.kind(file)) === 'file') return file;
  throw new SpackEnvError({
    severity: 'error',
    code: 'no-manifest',
    message: kind === undefined ? `${path} does not exist.` : `${path} has no spack.yaml.`,
    hint: 'Name the folder of a Spack environment, or make one with "stackwright init".',
  });
}

function variableFacts(folder: string, options: LoadOptions): VariableFacts {
  const { withheld } = options;
  const all = options.env ?? process.env;
  const env = withheld ? Object.fromEntries(Object.entries(all).filter(([name]) => !withheld(name))) : all;
  const home = homeOf(options);
  const { platform, os, target } = options.host ?? {};
  const host =
    platform && os && target ? { platform, os, target } : { ...hostArchitecture(), ...defined(options.host) };
  return {
    host,
    env,
    home,
    user: options.user ?? env['USER'] ?? userName(),
    tempdir: options.tempdir ?? env['TMPDIR'] ?? tmpdir(),
    environment: folder,
    spack: options.spack ?? env['SPACK_ROOT'],
  };
}

const homeOf = ({ home, env = process.env }: LoadOptions): string => home ?? env['HOME'] ?? homedir();

const defined = (host: Partial<HostArchitecture> | undefined): Partial<HostArchitecture> =>
  Object.fromEntries(Object.entries(host ?? {}).filter(([, value]) => value !== undefined));

function userName(): string {
  try {
    return userInfo().username;
  } catch {
    return String(process.getuid?.() ?? 'user');
  }
}

function manifestBody(root: ConfigNode, file: string): MapNode {
  const body = nodeAt(root, 'spack');
  if (body?.kind === 'map') return body;
  const empty = body?.kind === 'scalar' && body.value === null;
  throw new SpackEnvError({
    severity: 'error',
    code: 'no-manifest',
    message: `${basename(file)} ${empty ? 'says nothing below the key "spack"' : 'has no key "spack" with the environment below it'}.`,
    position: (body ?? root).at,
    hint: 'An empty environment is "spack: {specs: []}".',
  });
}

function sectionsOf(spack: MapNode): MapNode['entries'] {
  return new Map([...spack.entries].filter(([key]) => key !== 'specs' && key !== 'include_concrete'));
}

/** A manifest for an older Spack may have keys that only it knew: they are no reason to stop. */
const forgive = (finding: Finding): Finding =>
  finding.code === 'unknown-key' ? { ...finding, severity: 'warning' } : finding;

/** Keys that current Spack accepts and does nothing with. */
function ignoredKeys(spack: MapNode): Finding[] {
  const findings: Finding[] = [];
  const packages = nodeAt(spack, 'packages');
  for (const [name, entry] of packages?.kind === 'map' ? packages.entries : []) {
    const compiler = entry.node.kind === 'map' ? entry.node.entries.get('compiler') : undefined;
    if (compiler) {
      findings.push({
        severity: 'warning',
        code: 'ignored-key',
        message: `"packages.${name}.compiler" is ignored since Spack 1.0.`,
        position: compiler.at,
        hint: 'Write "require: \'%gcc\'" or "prefer:" instead.',
      });
    }
  }
  const compilers = spack.entries.get('compilers');
  if (compilers) {
    findings.push({
      severity: 'warning',
      code: 'ignored-key',
      message: '"compilers" is read as externals of packages since Spack 1.0.',
      position: compilers.at,
      hint: 'Write the compilers under "packages: gcc: externals:".',
    });
  }
  return findings;
}

/**
 * Until 1.0, Spack's repository held stacks that were run with a folder of configuration on the command line: they
 * name a CDash group but no CDash, and include nothing, or something of Spack's own `share/spack/gitlab`. Since 1.0
 * these stacks are elsewhere and include what they need. Compilers in the two are not read alike.
 */
function guessDialect(spack: MapNode, findings: Finding[]): '0.x' | '1.x' {
  const cdash = nodeAt(spack, 'cdash');
  const include = nodeAt(spack, 'include');
  const ofSpack =
    include?.kind === 'list' &&
    include.items.some((item) => /^\$\{?spack\}?\/share\/spack\/gitlab\//.test(textOf(item) ?? ''));
  const incomplete = nodeAt(cdash, 'build-group') !== undefined && !nodeAt(cdash, 'url');
  if (!incomplete || (include && !ofSpack)) return '1.x';
  findings.push({
    severity: 'note',
    code: 'spack-0.x',
    message:
      'This is a stack of the pipelines in Spack before 1.0: its specs are read as Spack 0.23 reads them.',
    position: cdash?.at,
    hint: 'Say for which Spack it is where that is wrong (--spack 1.1).',
  });
  return '0.x';
}

async function lowerScopes(paths: readonly string[], folder: string, loader: ScopeLoader): Promise<Scope[]> {
  const at = { file: 'options', line: 1, column: 1 };
  const scopes: Scope[] = [];
  for (const path of paths) {
    const node: ConfigNode = { kind: 'list', at, items: [{ kind: 'scalar', at, value: path }] };
    const holder = await makeScope(
      '',
      '',
      folder,
      new Map([['include', { at, mode: 'merge' as const, node }]]),
      loader,
    );
    scopes.push(...holder.included);
  }
  return scopes;
}

function readRoots(
  node: ConfigNode | undefined,
  definitions: ReturnType<typeof readDefinitions>,
  options: ParseOptions,
  findings: Finding[],
): { specs: RootSpec[]; groups: SpecGroup[] } {
  const printed = options.dialect === '0.x' ? formatLegacySpec : formatSpec;
  const specs: RootSpec[] = [];
  // All is read before anything is multiplied out: a reference can still change what an earlier one gives.
  const parts: { group: string; items: SpecItem[] }[] = [];
  const groups = new Map<string, GroupEntry>();
  for (const item of node?.kind === 'list' ? node.items : []) {
    const groupNode = nodeAt(item, 'group');
    const group = textOf(groupNode) ?? defaultGroup;
    let nodes: readonly ConfigNode[] = [item];
    if (groupNode) {
      const inner = nodeAt(item, 'specs');
      nodes = inner?.kind === 'list' ? inner.items : nodeAt(item, 'matrix') ? [withoutGroup(item)] : [];
      groups.set(group, readGroup(group, item, groups.get(group)));
    } else if (!groups.has(group)) {
      groups.set(group, { name: group, needs: new Map(), override: {}, explicit: true, at: item.at });
    }
    parts.push({ group, items: readItems(nodes, definitions, findings) });
  }
  for (const { group, items } of parts) {
    for (const { spec, at } of expandItems(items, options, findings)) {
      specs.push({ spec, text: printed(spec), group, at });
    }
  }
  findings.push(...checkNeeds(groups));
  return {
    specs,
    groups: [...groups.values()].map((group) => ({ ...group, needs: [...group.needs.keys()] })),
  };
}

/** A group as it is read: with the place of each need. */
interface GroupEntry extends Omit<SpecGroup, 'needs'> {
  readonly needs: ReadonlyMap<string, Position>;
}

/** Entries of one group add up. */
function readGroup(name: string, item: ConfigNode, before: GroupEntry | undefined): GroupEntry {
  const needs = new Map(before?.needs);
  const needsNode = nodeAt(item, 'needs');
  for (const need of needsNode?.kind === 'list' ? needsNode.items : []) {
    const other = textOf(need);
    if (other !== undefined && !needs.has(other)) needs.set(other, need.at);
  }
  const override = nodeAt(item, 'override');
  const explicit = nodeAt(item, 'explicit');
  return {
    name,
    needs,
    override: {
      ...before?.override,
      ...(override?.kind === 'map' ? (plainValue(override, true) as Record<string, unknown>) : {}),
    },
    explicit: explicit?.kind === 'scalar' ? explicit.value !== false : (before?.explicit ?? true),
    at: before?.at ?? item.at,
  };
}

/** A group that is itself a matrix. */
const withoutGroup = (item: ConfigNode): ConfigNode =>
  item.kind === 'map'
    ? { ...item, entries: new Map([...item.entries].filter(([key]) => ['matrix', 'exclude'].includes(key))) }
    : item;

/** Groups that are needed must exist, and none may need itself, directly or through others. */
function checkNeeds(groups: ReadonlyMap<string, GroupEntry>): Finding[] {
  const findings: Finding[] = [];
  const done = new Set<string>();
  const visit = (group: GroupEntry, above: readonly string[]): void => {
    const path = [...above, group.name];
    for (const [need, position] of group.needs) {
      const other = groups.get(need);
      if (!other) {
        const near = nearest(need, [...groups.keys()]);
        findings.push({
          severity: 'error',
          code: 'unknown-group',
          message: `The group "${group.name}" needs the group "${need}", which does not exist.`,
          position,
          hint: near ? `Did you mean "${near}"?` : `The groups are ${[...groups.keys()].join(', ')}.`,
          text: need,
          nearest: near,
        });
      } else if (path.includes(need)) {
        const cycle = [...path.slice(path.indexOf(need)), need].map((name) => `"${name}"`);
        findings.push({
          severity: 'error',
          code: 'cyclic-group',
          message: `The groups need each other in a cycle: ${cycle.join(' needs ')}.`,
          position,
          hint: 'Remove one of these "needs".',
        });
      } else if (!done.has(need)) {
        visit(other, path);
      }
    }
    done.add(group.name);
  };
  for (const group of groups.values()) if (!done.has(group.name)) visit(group, []);
  return findings;
}

const texts = (node: ConfigNode | undefined): string[] =>
  node?.kind === 'list' ? node.items.flatMap((item) => textOf(item) ?? []) : [];

async function readIncludeConcrete(
  node: ConfigNode | undefined,
  folder: string,
  { files, variables, findings }: ScopeLoader,
): Promise<string[]> {
  const folders: string[] = [];
  for (const item of node?.kind === 'list' ? node.items : []) {
    const path = resolvePath(textOf(item) ?? '', folder, variables);
    folders.push(path);
    if ((await files.kind(join(path, 'spack.yaml'))) === undefined) {
      findings.push({
        severity: 'error',
        code: 'missing-include',
        message: `The included environment ${path} has no spack.yaml.`,
        position: item.at,
        hint: 'Name the folder of another environment.',
      });
    }
  }
  return folders;
}

/** Since Spack 1.2, `include` takes another environment's `spack.lock` and does what `include_concrete` did. */
const includedLocks = (scopes: readonly Scope[]): string[] =>
  scopes.flatMap((scope) => scope.locks).map(dirname);

function readViews(node: ConfigNode | undefined, folder: string, facts: VariableFacts): View[] {
  const standard = join(folder, '.spack-env', 'view');
  const view = (name: string, root: string, of?: ConfigNode): View => {
    const projections = nodeAt(of, 'projections');
    return {
      name,
      root: resolvePath(root, folder, facts),
      link: (textOf(nodeAt(of, 'link')) as View['link'] | undefined) ?? 'all',
      linkType: textOf(nodeAt(of, 'link_type')) ?? 'symlink',
      select: texts(nodeAt(of, 'select')),
      exclude: texts(nodeAt(of, 'exclude')),
      projections: projections ? (plainValue(projections) as Record<string, string>) : {},
    };
  };
  if (node?.kind === 'scalar' && node.value === false) return [];
  if (node?.kind === 'scalar' && typeof node.value === 'string') return [view('default', node.value)];
  if (node?.kind !== 'map') return [view('default', standard)];
  const views = [...node.entries].flatMap(([name, { node: of }]) => {
    const root = of.kind === 'scalar' ? textOf(of) : textOf(nodeAt(of, 'root'));
    return root === undefined ? [] : [view(name, root, of)];
  });
  return views.length > 0 ? views : [view('default', standard)];
}

function readDevelop(node: ConfigNode | undefined, folder: string, facts: VariableFacts) {
  if (node?.kind !== 'map') return [];
  return [...node.entries].map(([name, entry]) => ({
    name,
    spec: textOf(nodeAt(entry.node, 'spec')) ?? name,
    path: resolvePath(textOf(nodeAt(entry.node, 'path')) ?? name, folder, facts),
  }));
}

/** Each part is parsed once: what is wrong with it is wrong wherever it is used. */
function readToolchains(node: ConfigNode | undefined, findings: Finding[]): Toolchains {
  if (node?.kind !== 'map') return {};
  const checkSpec = (part: ConfigNode | undefined) => {
    try {
      parseSpec(textOf(part) ?? '');
    } catch (error) {
      if (!(error instanceof SpackEnvError)) throw error;
      findings.push(...error.findings.map((finding) => ({ ...finding, position: part?.at })));
    }
  };
  const toolchains: [string, Toolchains[string]][] = [];
  for (const [name, entry] of node.entries) {
    if (entry.node.kind === 'scalar') {
      checkSpec(entry.node);
      toolchains.push([name, textOf(entry.node) ?? '']);
    } else if (entry.node.kind === 'list') {
      for (const item of entry.node.items) for (const key of ['spec', 'when']) checkSpec(nodeAt(item, key));
      toolchains.push([
        name,
        entry.node.items.map((item) => ({
          spec: textOf(nodeAt(item, 'spec')) ?? '',
          when: textOf(nodeAt(item, 'when')),
        })),
      ]);
    }
  }
  return Object.fromEntries(toolchains);
}

/** A manifest's text in the current form; comments and order stay. `notes` is empty where nothing changed. */
export function upgradeManifest(
  text: string,
  file = 'spack.yaml',
): { text: string; notes: readonly Finding[] } {
  const source = parseConfig(text, file);
  readNodes(source);
  const notes = upgradeDocument(source);
  return { text: notes.length > 0 ? print(source.document, text) : text, notes };
}

/** Prints a document in the style of the text that it was read from, as far as a printer can tell. */
function print(document: Document, text: string): string {
  const sequence = /^( *)[^\s#-][^\n]*:[ \t]*\n(?: *#[^\n]*\n)*( *)- /m.exec(text);
  const indent = /^spack:[ \t]*\n(?:[ \t]*(?:#[^\n]*)?\n)*( +)\S/m.exec(text)?.[1]?.length;
  try {
    return document.toString({
      lineWidth: 0,
      indent: indent && indent <= 8 ? indent : 2,
      indentSeq: sequence !== null && sequence[2]!.length > sequence[1]!.length,
      flowCollectionPadding: /[[{] \S/.test(text),
    });
  } catch (error) {
    throw new SpackEnvError({
      severity: 'error',
      code: 'cannot-print',
      message: `The changed manifest cannot be written: ${(error as Error).message}.`,
      hint: 'An alias (*name) came to stand before its anchor (&name): write the value out in both places.',
    });
  }
}

/**
 * Changes a manifest's text; comments and the order of everything else stay.
 * @param edit works on the document, for example `(document) => document.setIn(['spack', 'view'], false)`
 * @throws SpackEnvError when the text is no YAML, or an alias would stand before its anchor
 */
export function editManifest(text: string, edit: (document: Document) => void, file = 'spack.yaml'): string {
  const { document } = parseConfig(text, file);
  edit(document);
  return print(document, text);
}
