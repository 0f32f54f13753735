import { type Descriptor, digestOf } from '@stackwright/oci';
import { gzipText, parseSpecDocument } from '../spec-document.js';
import { specType } from './layout.js';

/** A spec's JSON as the blob that a mirror holds. @param where names it in messages @throws BuildcacheError `spec` */
export function specBlob(
  text: string,
  where: string,
): { readonly descriptor: Descriptor; readonly bytes: Buffer } {
  const bytes = gzipText(text);
  const { version } = parseSpecDocument(text, where);
  return { bytes, descriptor: { mediaType: specType(version), digest: digestOf(bytes), size: bytes.length } };
}
