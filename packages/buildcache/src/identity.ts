import { type ConcreteNode, dagHashOf } from '@stackwright/spack-env';
import { BuildcacheError } from './error.js';
import { describe, isSamePackage, type PackageRef } from './package-ref.js';
import type { SpecDocument } from './spec-document.js';

/** Where something was read, for messages. */
interface Place {
  readonly mirror: string;
  /** The key or tag of the manifest. */
  readonly key: string;
}

/**
 * Checks that a spec is that of the package which was asked for, and that the hashes of its nodes follow from their
 * content. Without this check a signed manifest of one package, copied to the place of another, would be taken for the
 * other.
 * @throws BuildcacheError `wrong-package` naming both packages, `dag-hash` naming the node
 */
export function checkIdentity(ref: PackageRef, document: SpecDocument, place: Place): void {
  checkRoot(ref, document.root, place);
  for (const node of document.nodes.values()) checkDagHash(node, document.version, describe(ref));
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
