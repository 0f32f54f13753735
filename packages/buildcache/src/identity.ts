import { type ConcreteNode, dagHashOf } from '@stackwright/spack-env';
import { BuildcacheError } from './error.js';
import { type BuildInfo, parseBuildInfo } from './pack/buildinfo.js';
import { describe, isSamePackage, type PackageRef } from './package-ref.js';
import type { SpecDocument } from './spec-document.js';

/** Where something was read, for messages. */
interface Place {
  readonly mirror: string;
  /** The key or tag of the manifest. */
  readonly key: string;
}

/**
 * Checks that a spec is that of the package which was asked for, that it is of this package alone, and that the hashes of
 * its nodes follow from their content. Without this check a signed manifest of one package, copied to the place of
 * another, would be taken for the other.
 * @throws BuildcacheError `wrong-package` naming both packages, `spec` for a second root, `dag-hash` naming the node
 */
export function checkIdentity(ref: PackageRef, document: SpecDocument, place: Place): void {
  checkRoot(ref, document.root, place);
  const nodes = [...document.nodes.values()];
  checkOneRoot(nodes.map(reachOf), describe(ref));
  for (const node of nodes) checkDagHash(node, document.version, describe(ref));
}

/** What decides whether a spec is of one package alone. */
export interface NodeReach extends PackageRef {
  readonly external: boolean;
  /** Dag hashes of all that it names: dependencies of every kind, and what a spliced package was built as. */
  readonly names: readonly string[];
}

export function reachOf(node: ConcreteNode): NodeReach {
  const { name, version, hash, external, dependencies, buildSpec } = node;
  const names = dependencies.map((edge) => edge.hash);
  if (buildSpec !== undefined) names.push(buildSpec);
  return { name, version, hash, external: external !== undefined, names };
}

/**
 * Checks that the first of a spec's nodes leads to all others: nothing else is vouched for by its hash.
 * @throws BuildcacheError `spec`
 */
export function checkOneRoot(nodes: readonly NodeReach[], where: string): void {
  const refuse = (why: string): never => {
    throw new BuildcacheError('spec', `${where}: the spec ${why}.`, {
      package: where,
      hint: 'Push the package again from where it is installed.',
    });
  };
  const [root] = nodes;
  if (!root) return;
  if (root.external) refuse('is of an external package, which has no binary');
  const known = new Map(nodes.map((node) => [node.hash, node]));
  const reached = new Set([root.hash]);
  // A Set goes on with what is added while it is walked.
  for (const hash of reached) for (const named of known.get(hash)?.names ?? []) reached.add(named);
  const other = nodes.find(({ hash }) => !reached.has(hash));
  if (other) refuse(`has a second root, ${describe(other)}, which the package does not need`);
}

/**
 * Checks that a tarball's files are those of the package: they lie in the prefix that its `binary_distribution` names for
 * the package's hash.
 * @param found what was read of the tarball
 * @returns what the tarball's `binary_distribution` says
 * @throws BuildcacheError `wrong-package`, `tar-path`; `tarball` for a broken `binary_distribution`
 */
export function checkTarball(
  ref: PackageRef,
  found: { readonly prefix: string; readonly distribution: string },
): BuildInfo {
  const info = parseBuildInfo(found.distribution, describe(ref));
  checkPrefix(ref, found.prefix, info);
  return info;
}

/** The same of a `binary_distribution` that was read. @throws BuildcacheError `wrong-package`, `tar-path` */
export function checkPrefix(ref: PackageRef, prefix: string, info: BuildInfo): void {
  const what = describe(ref);
  const own = info.prefixes.get(ref.hash);
  if (own === undefined) {
    const whose = [...info.prefixes].find(([, path]) => path === prefix)?.[0];
    const other = whose === undefined ? 'another package' : `the package /${whose.slice(0, 7)}`;
    throw new BuildcacheError('wrong-package', `${what}: its tarball is that of ${other}.`, {
      package: what,
      hint: 'Push the package again.',
    });
  }
  if (own !== prefix) {
    throw new BuildcacheError(
      'tar-path',
      `${what}: its tarball has files of ${prefix}, and the package was installed into ${own}.`,
      { package: what, file: prefix, hint: 'Push the package again.' },
    );
  }
}

/** @throws BuildcacheError `wrong-package` when `root` is another package than `ref` */
export function checkRoot(ref: PackageRef, root: PackageRef, { mirror, key }: Place): void {
  if (isSamePackage(ref, root)) return;
  const what = describe(ref);
  throw new BuildcacheError('wrong-package', `${what}: ${mirror} has ${describe(root)} in its place.`, {
    package: what,
    mirror,
    key,
    hint: 'The manifest of one package was copied to the place of another. Push the package again.',
  });
}

/**
 * @param version of the spec file that holds the node
 * @param where names the document in messages
 * @throws BuildcacheError `dag-hash` when the node's hash does not follow from its content
 */
export function checkDagHash(node: ConcreteNode, version: number, where: string): void {
  const hash = dagHashOf(node, version);
  if (hash === undefined || hash === node.hash) return;
  throw new BuildcacheError(
    'dag-hash',
    `${where}: the spec of ${describe(node)} was changed: the dag hash of its content is ${hash.slice(0, 7)}.`,
    { package: where, hint: 'Push the package again from where it is installed.' },
  );
}
