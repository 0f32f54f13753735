import { createHash } from 'node:crypto';
import type { ConcreteNode } from './node.js';

/** The oldest spec file version whose dag hashes follow from what the file says of a node. */
const oldestVersion = 5;
/** How much of its build spec's hash a spliced spec keeps, so that paths in its binaries keep their length. */
const splicedTail = 7;

/**
 * The dag hash that follows from a node's content: SHA-1 in base 32 of its JSON without the key `hash`, without white
 * space, its keys in the order in which they stand (Spack's `specfile` format, versions 5 and 6).
 * @param specfileVersion of the document that holds the node: `_meta.version` of a spec file, `specfileVersion` of a lock
 * @returns undefined where it does not follow from that content: for externals, for documents before version 5, and for
 *   nodes that were taken over from one of another version, since their hash is that of their older form
 */
export function dagHashOf(node: ConcreteNode, specfileVersion: number): string | undefined {
  if (specfileVersion < oldestVersion || node.external) return undefined;
  const original = originalVersion(node);
  if (original !== undefined && original !== specfileVersion) return undefined;
  const { hash: _, ...content } = node.raw;
  const hash = base32(createHash('sha1').update(asciiJson(content)).digest());
  if (node.buildSpec === undefined) return hash;
  return hash.slice(0, -splicedTail) + node.buildSpec.slice(-splicedTail);
}

function originalVersion({ raw }: ConcreteNode): number | undefined {
  const { annotations } = raw as { annotations?: { original_specfile_version?: unknown } };
  const version = annotations?.original_specfile_version;
  return version === undefined ? undefined : Number(version);
}

/** JSON as Python writes it: everything but printable ASCII is escaped. */
function asciiJson(value: unknown): string {
  return JSON.stringify(value).replace(
    /[\u007f-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

const alphabet = 'abcdefghijklmnopqrstuvwxyz234567';

/** Base 32 (RFC 4648) in lower case. SHA-1 has 160 bits, so that nothing has to be padded. */
function base32(bytes: Uint8Array): string {
  let text = '';
  let bits = 0;
  let value = 0;
  for (const byte of bytes) {
    value = (value << 8) | byte;
    for (bits += 8; bits >= 5; bits -= 5) text += alphabet[(value >>> (bits - 5)) & 31];
    value &= (1 << bits) - 1;
  }
  return text;
}
