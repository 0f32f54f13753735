import type { Finding } from '../error.js';
import { dagHashOf } from './dag-hash.js';
import type { Lock } from './lock.js';
import type { ConcreteNode } from './node.js';

/** What the dag hashes of a lock prove. */
export interface LockProof {
  /** Nodes whose hash does not follow from their content: somebody changed them after Spack wrote them. */
  readonly changed: readonly { readonly node: ConcreteNode; readonly expected: string }[];
  /** Nodes whose hash cannot be computed again from what the lock holds; see `dagHashOf`. */
  readonly unproven: readonly ConcreteNode[];
}

/** Computes the dag hash of every node again and compares it. */
export function proveLock({ nodes, specfileVersion }: Lock): LockProof {
  const changed: { node: ConcreteNode; expected: string }[] = [];
  const unproven: ConcreteNode[] = [];
  for (const node of nodes.values()) {
    const expected = dagHashOf(node, specfileVersion);
    if (expected === undefined) unproven.push(node);
    else if (expected !== node.hash) changed.push({ node, expected });
  }
  return { changed, unproven };
}

/**
 * An error for each node that was changed after Spack wrote it.
 * @param file the lock's path, @param text its content, for the places of the nodes
 */
export function changedNodes(lock: Lock, file: string, text: string): Finding[] {
  return proveLock(lock).changed.map(({ node, expected }) => {
    const key = text.indexOf(`"${node.hash}":`);
    const before = text.slice(0, Math.max(0, key));
    return {
      severity: 'error',
      code: 'changed-node',
      message: `${node.name}@${node.version}/${node.hash} was changed after Spack concretized it: its content has the hash ${expected}.`,
      position:
        key < 0
          ? { file, line: 1, column: 1 }
          : { file, line: before.split('\n').length, column: key - before.lastIndexOf('\n'), offset: key },
      hint: 'Concretize again instead of editing spack.lock.',
      text: node.hash,
    };
  });
}

/** A note on what the dag hashes do not prove; undefined where they prove every node. */
export function unprovenNote(lock: Lock, file: string): Finding | undefined {
  const { unproven } = proveLock(lock);
  if (unproven.length === 0) return undefined;
  const externals = unproven.filter((node) => node.external).length;
  const older = unproven.length - externals;
  const parts = [
    ...(externals > 0 ? [`${externals} external${externals === 1 ? '' : 's'}`] : []),
    ...(older > 0 ? [`${older} in a spec file of before version 5`] : []),
  ];
  return {
    severity: 'note',
    code: 'unproven-nodes',
    message: `${file}: the hash of ${unproven.length} of ${lock.nodes.size} specs cannot be checked (${parts.join(', ')}).`,
  };
}
