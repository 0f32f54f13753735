import type { PackageRef } from '../package-ref.js';

/** The tag that holds the index. */
export const indexTag = 'index.spack';

/** `NAME-VERSION-HASH.spack`, made a valid tag as Spack does: at most 128 characters, of a long one both ends. */
export function tagOf(ref: PackageRef): string {
  const tag = `${ref.name}-${ref.version}-${ref.hash}.spack`.replace(/[^\w.-]/g, '_');
  return tag.length > 128 ? tag.slice(0, 64) + tag.slice(-64) : tag;
}

/** The dag hash in a package's tag; undefined for a tag of another kind. */
export function hashOfTag(tag: string): string | undefined {
  return /-([a-z2-7]{32})\.spack$/.exec(tag)?.[1];
}

/** A reference that has this tag; where name and version part is a guess. */
export function refOfTag(tag: string): PackageRef | undefined {
  const match = /^(.+?)-(\d.*|[^-]*)-([a-z2-7]{32})\.spack$/.exec(tag);
  return match ? { name: match[1]!, version: match[2]!, hash: match[3]! } : undefined;
}
