import { createReadStream, existsSync, readFileSync } from 'node:fs';
import { realpath } from 'node:fs/promises';
import { join } from 'node:path';
import type { ConcreteNode } from '@stackwright/spack-env';
import { BuildcacheError } from '../error.js';
import { databaseEntries } from '../index/database.js';
import type { PackageSource } from '../mirror-writer.js';
import { mirrorSpecText, parseSpecDocument, type SpecDocument } from '../spec-document.js';
import { type PackInfo, packPrefix } from './pack.js';

/** An installed package, ready to be packed. */
export interface InstalledPackage {
  readonly prefix: string;
  readonly document: SpecDocument;
}

/** A Spack install tree: its root (padding included), and where each hash is installed. */
export interface InstallTree {
  readonly root: string;
  /** Prefixes by hash, of everything that is installed, externals too. */
  readonly prefixes: ReadonlyMap<string, string>;
  /** Hashes of what is installed here: no externals. */
  readonly installed: ReadonlySet<string>;
  /** Hashes that the user asked for. */
  readonly explicit: ReadonlySet<string>;
}

/**
 * Reads an install tree's database (`.spack-db/index.json`).
 * @throws BuildcacheError `install-tree` when there is none
 */
export async function readInstallTree(root: string): Promise<InstallTree> {
  const file = join(root, '.spack-db', 'index.json');
  if (!existsSync(file)) {
    throw new BuildcacheError(
      'install-tree',
      `${root} is no Spack install tree: it has no .spack-db/index.json.`,
      {
        file,
        hint: 'Give the folder of config:install_tree:root.',
      },
    );
  }
  const prefixes = new Map<string, string>();
  const installed = new Set<string>();
  const explicit = new Set<string>();
  for await (const { hash, bytes } of databaseEntries(createReadStream(file), file)) {
    const record = JSON.parse(bytes.toString('utf8')) as {
      spec: { external?: unknown };
      path?: string | null;
      installed?: boolean;
      explicit?: boolean;
    };
    if (!record.installed || !record.path) continue;
    prefixes.set(hash, record.path);
    if (record.spec.external) continue;
    installed.add(hash);
    if (record.explicit) explicit.add(hash);
  }
  const own = [...installed].map((hash) => prefixes.get(hash)!);
  return { root: await recordedRoot(root.replace(/\/+$/, ''), own), prefixes, installed, explicit };
}

/** The root under the name that its packages were installed by: it may have been given by a link to it. */
async function recordedRoot(root: string, prefixes: readonly string[]): Promise<string> {
  const holds = (folder: string) => prefixes.some((prefix) => prefix.startsWith(`${folder}/`));
  if (prefixes.length === 0 || holds(root)) return root;
  const real = await realpath(root);
  return holds(real) ? real : root;
}

/** Reads an installed prefix's own spec. @throws BuildcacheError `install-tree` */
export function readInstalled(prefix: string): InstalledPackage {
  const file = join(prefix, '.spack', 'spec.json');
  if (!existsSync(file)) {
    throw new BuildcacheError(
      'install-tree',
      `${prefix} is no installed package: it has no .spack/spec.json.`,
      {
        file,
      },
    );
  }
  const document = parseSpecDocument(readFileSync(file, 'utf8'), file);
  return { prefix: prefix.replace(/\/+$/, ''), document };
}

/**
 * An installed package as something to push.
 * @param spackPrefix where the Spack is that installed it; stands in `binary_distribution`
 */
export function installedPackage(prefix: string, tree: InstallTree, spackPrefix: string): PackageSource {
  const installed = readInstalled(prefix);
  const info = packInfoOf(installed, tree, spackPrefix);
  const { root } = installed.document;
  return {
    name: root.name,
    version: root.version,
    hash: root.hash,
    specText: mirrorSpecText(installed.document.text, prefix),
    items: () => packPrefix(installed.prefix, info, { reuse: true }),
  };
}

/**
 * What the package's `binary_distribution` says of its surroundings.
 * @param spackPrefix where the Spack that installed it is
 * @throws BuildcacheError `install-tree` when a dependency that must be relocated is not installed
 */
export function packInfoOf(one: InstalledPackage, tree: InstallTree, spackPrefix: string): PackInfo {
  const prefixes = new Map<string, string>();
  for (const node of relocatedNodes(one.document)) {
    const prefix = node.hash === one.document.root.hash ? one.prefix : tree.prefixes.get(node.hash);
    if (prefix === undefined) {
      throw new BuildcacheError(
        'install-tree',
        `${one.document.root.name}: its dependency ${node.name}/${node.hash.slice(0, 7)} is not installed in ${tree.root}.`,
        { file: tree.root, hint: 'Install it, or give the upstream tree that holds it.' },
      );
    }
    prefixes.set(node.hash, prefix);
  }
  return {
    sbangPath: `${unpadded(tree.root)}/bin/sbang`,
    root: tree.root,
    spackPrefix,
    relativePrefix: relativeTo(tree.root, one.prefix),
    prefixes,
  };
}

/**
 * The nodes whose prefixes may stand in a package's files: itself and what it links, breadth first with siblings by
 * name, then what it runs directly. Externals stay where they are.
 */
export function relocatedNodes(document: SpecDocument): ConcreteNode[] {
  const { root, nodes } = document;
  const order = new Map<string, ConcreteNode>([[root.hash, root]]);
  for (let queue = [root]; queue.length > 0; ) {
    const next: ConcreteNode[] = [];
    for (const node of queue) {
      const edges = node.dependencies
        .filter((edge) => edge.types.includes('link'))
        .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
      for (const edge of edges) {
        const target = nodes.get(edge.hash);
        if (!target || order.has(target.hash)) continue;
        order.set(target.hash, target);
        next.push(target);
      }
    }
    queue = next;
  }
  for (const edge of root.dependencies) {
    const target = nodes.get(edge.hash);
    if (target && edge.types.includes('run') && !order.has(target.hash)) order.set(target.hash, target);
  }
  return [...order.values()].filter((node) => !node.external);
}

/** An install root without the folders that Spack adds to make it long (`config:install_tree:padded_length`). */
export function unpadded(root: string): string {
  const word = '__spack_path_placeholder__';
  const parts = root.split('/');
  // The last one may be cut off to reach the exact length.
  const last = parts.at(-1)!;
  if (word.startsWith(last) && (last.length >= 8 || (last.length > 0 && parts.at(-2) === word))) parts.pop();
  while (parts.at(-1) === word) parts.pop();
  return parts.join('/');
}

function relativeTo(root: string, prefix: string): string {
  if (prefix.startsWith(`${root}/`)) return prefix.slice(root.length + 1);
  const from = root.split('/');
  const to = prefix.split('/');
  let same = 0;
  while (same < from.length && from[same] === to[same]) same++;
  return [...from.slice(same).map(() => '..'), ...to.slice(same)].join('/');
}
