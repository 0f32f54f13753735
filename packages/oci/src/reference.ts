import { OciError } from './error.js';

/** A parsed image reference. */
export interface Reference {
  /** Host, with a port where one was given. */
  readonly registry: string;
  readonly repository: string;
  readonly tag: string | undefined;
  readonly digest: string | undefined;
}

const repositoryPattern =
  /^[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*$/;
const tagPattern = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;

/**
 * Reads `[registry/]repository[:tag][@digest]`, as Docker does: without a registry it is Docker Hub's,
 * and there a repository without a slash is in `library/`.
 * @throws OciError that says which part is wrong
 */
export function parseReference(text: string): Reference {
  const bad = (why: string): never => {
    throw new OciError('invalid', `"${text}" is not an image reference: ${why}.`, { reference: text });
  };
  const [name = '', digest, ...rest] = text.split('@');
  if (rest.length > 0) bad('it has more than one "@"');
  if (digest !== undefined && !/^sha256:[0-9a-f]{64}$/.test(digest))
    bad(`"${digest}" is not a sha256 digest`);
  const slash = name.indexOf('/');
  const first = name.slice(0, Math.max(slash, 0));
  const hasRegistry = slash > 0 && (first.includes('.') || first.includes(':') || first === 'localhost');
  const registry = hasRegistry ? first : 'docker.io';
  let path = hasRegistry ? name.slice(slash + 1) : name;
  const colon = path.lastIndexOf(':');
  const tag = colon > path.lastIndexOf('/') ? path.slice(colon + 1) : undefined;
  if (tag !== undefined) path = path.slice(0, colon);
  if (tag !== undefined && !tagPattern.test(tag))
    bad(`"${tag}" is not a tag (letters, digits, "._-", 128 at most)`);
  if (!repositoryPattern.test(path)) bad(`"${path}" is not a repository name (lower case, digits, "._-/")`);
  const repository = registry === 'docker.io' && !path.includes('/') ? `library/${path}` : path;
  return { registry, repository, tag, digest };
}

/** `registry/repository:tag@digest`, with what is known. */
export function formatReference(reference: Reference): string {
  const { registry, repository, tag, digest } = reference;
  return `${registry}/${repository}${tag ? `:${tag}` : ''}${digest ? `@${digest}` : ''}`;
}
