import type { Digest } from '@stackwright/oci';
import { BuildcacheError } from './error.js';
import { checkTarball } from './identity.js';
import type { LayerFacts, PackageContents } from './layer-facts.js';
import { describe, isHash, isSamePackage, type PackageRef } from './package-ref.js';

/**
 * What a manifest of ours says of its package under the key `stackwright`, besides what Spack writes: under the same
 * signature, so that the manifest cannot stand for another package and an image can be composed without a look at the
 * tarball. Spack's schema allows further keys.
 */
export interface Statement {
  /** Of this format. Statements of other versions are not read. */
  readonly version: 1;
  readonly package: PackageRef;
  /** When it was signed, RFC 3339 in UTC, whole seconds. */
  readonly time: string;
  readonly tarball: StatedTarball;
}

/** What the statement says of the tarball. */
export interface StatedTarball {
  /** Of the uncompressed tar: the `diff_id` of an image's layer. */
  readonly digest: Digest;
  /** Bytes, uncompressed. */
  readonly size: number;
  /** The root of the install tree where it was built. */
  readonly root: string;
  /** Where it was installed, absolute. */
  readonly prefix: string;
  /** Prefixes by dag hash that stand in its files, its own too; relative to `root` where they lie below it. */
  readonly prefixes: Readonly<Record<string, string>>;
  /** Folders below the prefix that search paths list. */
  readonly folders: readonly string[];
  readonly interpreters: readonly string[];
  readonly needed: readonly string[];
  readonly provided: readonly string[];
  /** Missing in statements of before it was said: then the tarball has to be read where it is needed. */
  readonly contents?: PackageContents;
}

/**
 * The statement on a package whose tarball was read or packed.
 * @throws BuildcacheError `tarball` when its `binary_distribution` is broken; `wrong-package`, `tar-path` when it is the
 *   tarball of another package
 */
export function statementOf(ref: PackageRef, facts: LayerFacts, time?: Date): Statement {
  const { name, version, hash } = ref;
  return {
    version: 1,
    package: { name, version, hash },
    time: timeOf(time),
    tarball: statedTarball(ref, facts),
  };
}

/** A time as a statement says it. */
export function timeOf(time = new Date()): string {
  return time.toISOString().replace(/\.\d+Z$/, 'Z');
}

function statedTarball(ref: PackageRef, facts: LayerFacts): StatedTarball {
  const { root, prefixes } = checkTarball(ref, facts);
  const relative = [...prefixes].map(
    ([hash, path]) => [hash, path.startsWith(`${root}/`) ? path.slice(root.length + 1) : path] as const,
  );
  return {
    digest: facts.diffId,
    size: facts.size,
    root,
    prefix: facts.prefix,
    prefixes: Object.fromEntries(relative),
    folders: facts.folders,
    interpreters: facts.libraries.interpreters,
    needed: facts.libraries.needed,
    provided: facts.libraries.provided,
    contents: facts.contents,
  };
}

/** The prefixes of a statement, absolute, by dag hash. */
export function statedPrefixes({ root, prefixes }: StatedTarball): Map<string, string> {
  return new Map(
    Object.entries(prefixes).map(([hash, path]) => [hash, path.startsWith('/') ? path : `${root}/${path}`]),
  );
}

/**
 * Checks that a statement is about this package, and names its prefix.
 * @throws BuildcacheError `wrong-package`, `statement`
 */
export function checkStatedPackage(statement: Statement, ref: PackageRef, mirror: string, key: string): void {
  const what = describe(ref);
  if (isSamePackage(ref, statement.package)) {
    const { prefix } = statement.tarball;
    if (statedPrefixes(statement.tarball).get(ref.hash) !== prefix)
      refuse(what, `says ${prefix} for a package that is installed elsewhere`);
    return;
  }
  throw new BuildcacheError(
    'wrong-package',
    `${what}: ${mirror} has the manifest of ${describe(statement.package)} in its place.`,
    {
      package: what,
      mirror,
      key,
      hint: 'The manifest of one package was copied to the place of another. Push the package again.',
    },
  );
}

/**
 * Checks that a package was signed at or after `notBefore`. It is the statement's time that counts.
 * @throws BuildcacheError `signature-old`
 */
export function checkStatedTime(
  statement: Pick<Statement, 'time'> | undefined,
  notBefore: Date | undefined,
  what: string,
): void {
  if (!notBefore) return;
  const limit = timeOf(notBefore);
  if (!statement) {
    throw new BuildcacheError('signature-old', `${what}: its manifest does not say when it was signed.`, {
      package: what,
      hint: `Only packages that were signed since ${limit} count. Sign it anew: stackwright mirror sign URL`,
    });
  }
  if (Date.parse(statement.time) >= notBefore.getTime()) return;
  throw new BuildcacheError('signature-old', `${what}: it was signed ${statement.time}, before ${limit}.`, {
    package: what,
    hint: 'Somebody may have put an old package back. Build and push it anew, or allow an earlier --not-before.',
  });
}

/**
 * Checks a tarball that was read: it is that of the package, and what the manifest's statement says of it is in it.
 * @throws BuildcacheError `statement`; as `checkTarball`
 */
export function checkStatedTarball(
  ref: PackageRef,
  statement: Statement | undefined,
  facts: LayerFacts,
): void {
  const found = statedTarball(ref, facts);
  if (!statement) return;
  const what = describe(ref);
  const wrong = (Object.keys(found) as (keyof StatedTarball)[]).find(
    (key) =>
      statement.tarball[key] !== undefined && canonical(found[key]) !== canonical(statement.tarball[key]),
  );
  if (wrong !== undefined) refuse(what, `says something else of the tarball than is in it ("${wrong}")`);
}

/** The same of what an unpacking sees of the tarball. @throws BuildcacheError `statement` */
export function checkStatedPlace(
  { tarball }: Statement,
  found: Pick<StatedTarball, 'digest' | 'prefix'>,
  what: string,
): void {
  const wrong = (['prefix', 'digest'] as const).find((key) => found[key] !== tarball[key]);
  if (wrong !== undefined) refuse(what, `says something else of the tarball than is in it ("${wrong}")`);
}

/** The same text for the same values, whatever the order of keys. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, one: unknown) =>
    isObject(one) ? Object.fromEntries(Object.entries(one).sort(([a], [b]) => (a < b ? -1 : 1))) : one,
  );
}

/**
 * Reads what stands under `stackwright` in a manifest; undefined for nothing, and for a version that is not known.
 * @throws BuildcacheError `statement` for one that is broken
 */
export function parseStatement(raw: unknown, where: string): Statement | undefined {
  if (raw === undefined) return undefined;
  if (!isObject(raw)) return refuse(where, 'is no object');
  if (raw['version'] !== 1) return undefined;
  const { package: ref, time, tarball } = raw;
  if (!isObject(ref) || !isText(ref['name']) || !isText(ref['version']) || !isHash(String(ref['hash'])))
    return refuse(where, 'names no package');
  if (!isText(time) || Number.isNaN(Date.parse(time))) return refuse(where, 'has no time');
  if (!isObject(tarball)) return refuse(where, 'says nothing of the tarball');
  const { digest, size, root, prefix, prefixes, folders, interpreters, needed, provided, contents } = tarball;
  if (!isText(digest) || !/^sha256:[0-9a-f]{64}$/.test(digest)) return refuse(where, 'has no digest');
  if (!Number.isSafeInteger(size) || (size as number) < 0) return refuse(where, 'has no size');
  if (!isPath(root) || !isPath(prefix)) return refuse(where, 'has no absolute root and prefix');
  if (
    !isObject(prefixes) ||
    !Object.entries(prefixes).every(([hash, path]) => isHash(hash) && isText(path) && isClean(path))
  )
    return refuse(where, 'has no prefixes by dag hash');
  if (!isTexts(folders) || !folders.every(isClean)) return refuse(where, 'has no list of folders');
  if (!isTexts(interpreters) || !isTexts(needed) || !isTexts(provided))
    return refuse(where, 'has no list of libraries');
  if (contents !== undefined && !isContents(contents)) return refuse(where, 'has a broken list of contents');
  return {
    version: 1,
    package: { name: ref['name'], version: ref['version'], hash: String(ref['hash']) },
    time,
    tarball: {
      digest: digest as Digest,
      size: size as number,
      root,
      prefix,
      prefixes: prefixes as Record<string, string>,
      folders,
      interpreters,
      needed,
      provided,
      contents,
    },
  };
}

function isContents(value: unknown): value is PackageContents {
  if (!isObject(value)) return false;
  const { shebangs, entries } = value;
  const isName = (name: string) => !name.includes('/') && name !== '.' && name !== '..';
  return (
    isTexts(shebangs) &&
    isObject(entries) &&
    Object.entries(entries).every(
      ([folder, names]) =>
        isClean(folder) && !folder.startsWith('/') && isTexts(names) && names.every(isName),
    )
  );
}

function refuse(what: string, why: string): never {
  throw new BuildcacheError('statement', `${what}: the statement in its manifest ${why}.`, {
    package: what,
    hint: 'Sign the package anew where it is known to be right: stackwright mirror sign URL',
  });
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every(isText);
}

function isPath(value: unknown): value is string {
  return isText(value) && value.startsWith('/') && isClean(value);
}

/** Whether a path has no part that leads elsewhere. */
function isClean(path: string): boolean {
  return !path.split('/').includes('..');
}
