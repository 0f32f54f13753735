import { SpackEnvError } from '../error.js';
import { compareText, strip } from './text.js';

/**
 * A part between separators: a number (`bigint` where a double would lose digits), a name that sorts above
 * all numbers (`{ infinity }`, an index into the list of such names), or any other word, which sorts below them.
 */
export type VersionPart = number | bigint | string | { readonly infinity: number };

/** One exact version, `@=1.2`. */
export interface StandardVersion {
  readonly kind: 'version';
  /** As it was written; empty where it was computed, see {@link formatVersion}. */
  readonly text: string;
  readonly release: readonly VersionPart[];
  /** `[alpha 0 | beta 1 | rc 2 | final 3, number?]`. */
  readonly prerelease: readonly number[];
  readonly separators: readonly string[];
}

/** A git commit, branch or tag, with the version it stands for where the user gave one (`git.main=1.2`). */
export interface GitVersion {
  readonly kind: 'git';
  readonly ref: string;
  readonly prefix: boolean;
  readonly version: StandardVersion | undefined;
}

/** All versions from `lo` up to, but without, `hi`. `@1.2` is the range from 1.2 to below 1.3. */
export interface VersionRange {
  readonly kind: 'range';
  readonly lo: StandardVersion;
  readonly hi: StandardVersion;
  readonly text: string | undefined;
}

export type VersionItem = StandardVersion | GitVersion | VersionRange;

/** Ordered and disjoint. The list that matches everything holds one unbounded range. */
export type VersionList = readonly VersionItem[];

/** Names above every number, lowest first. Spack 1.0 added `stable` and `nightly` below `trunk`. */
const infinityNames = ['stable', 'nightly', 'trunk', 'head', 'master', 'main', 'develop'] as const;

const prereleaseNames = ['alpha', 'beta', 'rc', 'final'];
const final = 3;
/** Longer numbers are refused, as by Spack's host language. */
const mostDigits = 4300;

const fail = (message: string): never => {
  throw new SpackEnvError({ severity: 'error', code: 'bad-version', message });
};

/** Parses one exact version. @throws SpackEnvError for characters that no version has */
export function parseVersion(text: string): StandardVersion {
  const trimmed = strip(text);
  if (trimmed && !/^[A-Za-z0-9_.-][=A-Za-z0-9_.-]*$/.test(trimmed)) {
    return fail(`Version ${JSON.stringify(text)} has a character that no version may have.`);
  }
  const segments = [...trimmed.matchAll(/([0-9]+|[a-zA-Z]+)([_.-]*)/g)];
  const separators = segments.map((segment) => segment[2]!);
  const words = segments.map((segment) => segment[1]!);
  const last = words.at(-1) ?? '';
  const isNumber = (word: string) => /^[0-9]/.test(word);
  let prerelease: number[] = [final];
  const phase = prereleaseNames.indexOf(words.at(-2) ?? '');
  if (words.length >= 3 && phase >= 0 && isNumber(last)) {
    prerelease = [phase, Number(last)];
    words.length -= 2;
  } else if (words.length >= 2 && prereleaseNames.includes(last)) {
    prerelease = [prereleaseNames.indexOf(last)];
    words.length -= 1;
  }
  const release = words.map((word): VersionPart => {
    if (isNumber(word)) {
      if (word.length > mostDigits) fail(`Version part ${word.slice(0, 20)}… has too many digits.`);
      return word.length > 15 ? BigInt(word) : Number(word);
    }
    return wordPart(word);
  });
  return { kind: 'version', text, release, prerelease, separators };
}

function wordPart(word: string): VersionPart {
  const infinity = (infinityNames as readonly string[]).indexOf(word);
  return infinity < 0 ? word : { infinity };
}

const isCommit = (text: string) => /^[0-9a-fA-F]{40}$/.test(text);

function parseConcrete(text: string): StandardVersion | GitVersion {
  if (!text.startsWith('git.') && !isCommit(text) && !text.slice(1).includes('=')) return parseVersion(text);
  const prefix = text.startsWith('git.');
  const [ref, version, ...more] = (prefix ? text.slice(4) : text).split('=');
  if (more.length > 0) fail(`Git version ${JSON.stringify(text)} has more than one "=".`);
  return {
    kind: 'git',
    ref: ref!,
    prefix,
    version: version === undefined ? undefined : parseVersion(version),
  };
}

const lowest: StandardVersion = { kind: 'version', text: '', release: [], prerelease: [0], separators: [''] };
const highest: StandardVersion = {
  kind: 'version',
  text: 'infinity',
  release: [{ infinity: infinityNames.length }],
  prerelease: [final],
  separators: [''],
};

/** A range with both ends included. @throws SpackEnvError when it is empty */
function versionRange(lo: StandardVersion, hi: StandardVersion): VersionRange {
  const above = nextVersion(hi);
  if (compareVersions(above, lo) < 0) {
    fail(`${formatVersion(lo)}:${formatVersion(hi)} is an empty version range.`);
  }
  return { kind: 'range', lo, hi: above, text: rangeText(lo, hi) };
}

/** Matches every version, `@:`. */
export const anyVersion: VersionList = [versionRange(lowest, highest)];

export const isAnyVersion = (list: VersionList): boolean =>
  list === anyVersion || (list.length === 1 && sameItem(list[0]!, anyVersion[0]!));

/**
 * Parses what may follow `@`: `1.2`, `=1.2`, `1.2:1.4`, `:`, `git.main=1.2`, lists with commas.
 * @throws SpackEnvError for an empty range or a character that no version has
 */
export function parseVersions(text: string): VersionList {
  const compact = text.replaceAll(' ', '');
  if (compact.includes(',')) {
    return compact.split(',').reduce<VersionList>((list, part) => addAll(list, parseVersions(part)), []);
  }
  if (compact.includes(':')) {
    const [lo, hi, ...more] = compact.split(':');
    if (more.length > 0) fail(`Version range ${JSON.stringify(text)} has more than one ":".`);
    return [versionRange(lo === '' ? lowest : parseVersion(lo!), hi === '' ? highest : parseVersion(hi!))];
  }
  if (compact.startsWith('=')) return [parseConcrete(compact.slice(1))];
  const concrete = parseConcrete(compact);
  return [concrete.kind === 'git' ? concrete : versionRange(concrete, concrete)];
}

/** The version of a concrete node: exact, or of git. */
export const exactVersion = (text: string): VersionList => [parseConcrete(text)];

export function formatVersion(version: StandardVersion | GitVersion): string {
  if (version.kind === 'git') {
    const ref = version.prefix ? `git.${version.ref}` : version.ref;
    return version.version ? `${ref}=${formatVersion(version.version)}` : ref;
  }
  if (version.text !== '') return version.text;
  const { release, prerelease, separators } = version;
  const parts = release.map((part, i) => `${partText(part)}${separators[i] ?? ''}`);
  if (prerelease[0] !== final) parts.push(prereleaseNames[prerelease[0]!]!);
  if (prerelease.length > 1) parts.push(separators[release.length] ?? '', String(prerelease[1]));
  return parts.join('');
}

const partText = (part: VersionPart): string =>
  typeof part === 'object' ? (infinityNames[part.infinity] ?? 'infinity') : String(part);

/** `1.2`, `=1.2`, `1.2:1.4,1.6:`; `:` for any version and the empty text for none. */
export const formatVersions = (list: VersionList): string =>
  list
    .map((item) => {
      if (item.kind === 'version') return `=${formatVersion(item)}`;
      return item.kind === 'git' ? formatVersion(item) : formatRange(item);
    })
    .join(',');

const formatRange = (range: VersionRange): string =>
  range.text ?? rangeText(range.lo, previousVersion(range.hi));

function rangeText(lo: StandardVersion, hi: StandardVersion): string {
  const open = compareVersions(hi, highest) === 0;
  if (compareVersions(lo, lowest) === 0) return open ? ':' : `:${formatVersion(hi)}`;
  if (open) return `${formatVersion(lo)}:`;
  return compareVersions(lo, hi) === 0 ? formatVersion(lo) : `${formatVersion(lo)}:${formatVersion(hi)}`;
}

/** A total order; 0 for versions that differ only in separators. */
export function compareVersions(a: StandardVersion, b: StandardVersion): number {
  const parts = Math.min(a.release.length, b.release.length);
  for (let i = 0; i < parts; i++) {
    const order = compareParts(a.release[i]!, b.release[i]!);
    if (order !== 0) return order;
  }
  if (a.release.length !== b.release.length) return a.release.length - b.release.length;
  if (a.prerelease[0] !== b.prerelease[0]) return a.prerelease[0]! - b.prerelease[0]!;
  return (a.prerelease[1] ?? -1) - (b.prerelease[1] ?? -1);
}

function compareParts(a: VersionPart, b: VersionPart): number {
  const rank = (part: VersionPart) => (typeof part === 'string' ? 0 : typeof part === 'object' ? 2 : 1);
  const ranks = rank(a) - rank(b);
  if (ranks !== 0) return ranks;
  if (typeof a === 'string') return compareText(a, b as string);
  if (typeof a === 'object') return a.infinity - (b as { infinity: number }).infinity;
  // Numbers and bigints compare with each other.
  const other = b as number | bigint;
  return a < other ? -1 : a > other ? 1 : 0;
}

/** Whether a version moves, such as `develop` or `main`. */
export const isDevelop = (version: StandardVersion): boolean =>
  version.release.some((part) => typeof part === 'object');

/** The least version that is above every version with this one as its prefix. */
function nextVersion(version: StandardVersion): StandardVersion {
  const { release, prerelease, separators } = version;
  const made = (
    parts: readonly VersionPart[],
    pre: readonly number[],
    seps = separators,
  ): StandardVersion => ({
    kind: 'version',
    text: '',
    release: parts,
    prerelease: pre,
    separators: seps,
  });
  if (prerelease[0] !== final) {
    return made(release, [prerelease[0]!, prerelease.length > 1 ? prerelease[1]! + 1 : 0]);
  }
  if (release.length === 0) return made(['A'], prerelease, ['']);
  return made([...release.slice(0, -1), nextPart(release.at(-1)!)], prerelease);
}

/** Undoes {@link nextVersion}; of nothing else. */
function previousVersion(version: StandardVersion): StandardVersion {
  const { release, prerelease } = version;
  if (prerelease[0] !== final) {
    const pre = prerelease[1] === 0 ? [prerelease[0]!] : [prerelease[0]!, (prerelease[1] ?? 0) - 1];
    return { ...version, text: '', prerelease: pre };
  }
  if (release.length === 0) return version;
  return { ...version, text: '', release: [...release.slice(0, -1), previousPart(release.at(-1)!)] };
}

function nextPart(part: VersionPart): VersionPart {
  if (typeof part === 'number') return part + 1;
  if (typeof part === 'bigint') return part + 1n;
  if (typeof part === 'object') return { infinity: part.infinity + 1 };
  let word = part;
  do word = nextWord(word);
  while (isInfinityName(word));
  return word;
}

function previousPart(part: VersionPart): VersionPart {
  if (typeof part === 'number') return part - 1;
  if (typeof part === 'bigint') return part - 1n;
  if (typeof part === 'object') return { infinity: part.infinity - 1 };
  let word = part;
  do word = previousWord(word);
  while (isInfinityName(word));
  return word;
}

const isInfinityName = (word: string) => (infinityNames as readonly string[]).includes(word);

// Words are over A to Z, then a to z.
function nextWord(word: string): string {
  const last = word.at(-1);
  if (last === undefined || last === 'z') return `${word}A`;
  return word.slice(0, -1) + (last === 'Z' ? 'a' : String.fromCharCode(last.charCodeAt(0) + 1));
}

function previousWord(word: string): string {
  const last = word.at(-1);
  if (last === undefined || last === 'A') return word.slice(0, -1);
  return word.slice(0, -1) + (last === 'a' ? 'Z' : String.fromCharCode(last.charCodeAt(0) - 1));
}

/** The version that a git ref stands for. Spack asks the repository; without a network only the user can say. */
function known(git: GitVersion): StandardVersion {
  return (
    git.version ??
    fail(
      `Git version ${formatVersion(git)} cannot be ordered. Write what it stands for: @${formatVersion(git)}=VERSION.`,
    )
  );
}

/**
 * The order within a list: by lower end; a version stands before the range that it opens, a git version after
 * the version that it stands for.
 */
function itemBelow(a: VersionItem, b: VersionItem): boolean {
  if (a.kind === 'range') {
    if (b.kind === 'range') {
      const lo = compareVersions(a.lo, b.lo);
      return lo !== 0 ? lo < 0 : compareVersions(a.hi, b.hi) < 0;
    }
    return compareVersions(b.kind === 'git' ? known(b) : b, a.lo) > 0;
  }
  if (a.kind === 'version') {
    if (b.kind === 'range') return compareVersions(a, b.lo) <= 0;
    return b.kind === 'git' ? compareVersions(known(b), a) >= 0 : compareVersions(a, b) < 0;
  }
  if (b.kind === 'range') return compareVersions(known(a), b.lo) <= 0;
  if (b.kind === 'version') return compareVersions(known(a), b) < 0;
  const order = compareVersions(known(a), known(b));
  return order !== 0 ? order < 0 : compareText(a.ref, b.ref) < 0;
}

/** Equality of two items, for comparing specs. */
function sameItem(a: VersionItem, b: VersionItem): boolean {
  if (a.kind === 'range') {
    return b.kind === 'range' && compareVersions(a.lo, b.lo) === 0 && compareVersions(a.hi, b.hi) === 0;
  }
  if (a.kind === 'version') return b.kind === 'version' && compareVersions(a, b) === 0;
  if (b.kind !== 'git' || a.ref !== b.ref) return false;
  return a.version && b.version ? compareVersions(a.version, b.version) === 0 : a.version === b.version;
}

export const sameVersions = (a: VersionList, b: VersionList): boolean =>
  a === b || (a.length === b.length && a.every((item, i) => sameItem(item, b[i]!)));

const within = (version: StandardVersion, range: VersionRange): boolean =>
  compareVersions(range.lo, version) <= 0 && compareVersions(version, range.hi) < 0;

const gitWithin = (git: GitVersion, range: VersionRange): boolean =>
  sameItem(range, anyVersion[0]!) || within(known(git), range);

function itemsIntersect(a: VersionItem, b: VersionItem): boolean {
  if (a.kind === 'range') {
    if (b.kind === 'range') return compareVersions(a.lo, b.hi) < 0 && compareVersions(b.lo, a.hi) < 0;
    return b.kind === 'git' ? gitWithin(b, a) : within(b, a);
  }
  return b.kind === 'range' ? itemsIntersect(b, a) : sameItem(a, b);
}

function itemSatisfies(a: VersionItem, b: VersionItem): boolean {
  if (a.kind !== 'range') return itemsIntersect(a, b);
  return b.kind === 'range' && compareVersions(a.lo, b.lo) >= 0 && compareVersions(b.hi, a.hi) >= 0;
}

/** Whether every version in `a` is in `b`. */
export const versionsSatisfy = (a: VersionList, b: VersionList): boolean =>
  a.every((left) => b.some((right) => itemSatisfies(left, right)));

/** Whether some version is in both. */
export const versionsIntersect = (a: VersionList, b: VersionList): boolean =>
  a.some((left) => b.some((right) => itemsIntersect(left, right)));

/** What is in both. */
export function intersectVersions(a: VersionList, b: VersionList): VersionList {
  if (isAnyVersion(b)) return a;
  if (isAnyVersion(a)) return b;
  let result: VersionList = [];
  for (const [left, right] of [
    [a, b],
    [b, a],
  ] as const) {
    for (const item of left) {
      const i = insertionPoint(right, item);
      for (const other of [right[i - 1], right[i]]) {
        const common = other && intersectItems(other, item);
        if (common) result = addItem(result, common);
      }
    }
  }
  return result;
}

function intersectItems(a: VersionItem, b: VersionItem): VersionItem | undefined {
  if (!itemsIntersect(a, b)) return undefined;
  if (a.kind !== 'range') return a;
  if (b.kind !== 'range') return b;
  const lo = compareVersions(b.lo, a.lo) > 0 ? b.lo : a.lo;
  const hi = compareVersions(b.hi, a.hi) < 0 ? b.hi : a.hi;
  return { kind: 'range', lo, hi, text: undefined };
}

const addAll = (list: VersionList, more: VersionList): VersionList => more.reduce(addItem, list);

/** Adds an item, joining ranges that touch and leaving out what is there already. */
function addItem(list: VersionList, item: VersionItem): VersionList {
  const items = [...list];
  let i = insertionPoint(items, item);
  if (item.kind !== 'range') {
    const covered = [items[i - 1], items[i]].some((other) => other && itemsIntersect(item, other));
    if (!covered) items.splice(i, 0, item);
    return items;
  }
  let joined: VersionRange = item;
  for (let union: VersionRange | undefined; i > 0 && (union = joinRange(joined, items[i - 1]!)); i--) {
    joined = union;
    items.splice(i - 1, 1);
  }
  for (let union: VersionRange | undefined; i < items.length && (union = joinRange(joined, items[i]!)); ) {
    joined = union;
    items.splice(i, 1);
  }
  items.splice(i, 0, joined);
  return items;
}

/** The union when it has no gap: `1:2` and `3:4` give `1:4`. */
function joinRange(range: VersionRange, item: VersionItem): VersionRange | undefined {
  if (item.kind === 'git') return gitWithin(item, range) ? range : undefined;
  if (item.kind === 'version') return within(item, range) ? range : undefined;
  if (compareVersions(range.lo, item.hi) > 0 || compareVersions(item.lo, range.hi) > 0) return undefined;
  const lo = compareVersions(item.lo, range.lo) < 0 ? item.lo : range.lo;
  const hi = compareVersions(item.hi, range.hi) > 0 ? item.hi : range.hi;
  return { kind: 'range', lo, hi, text: undefined };
}

function insertionPoint(list: VersionList, item: VersionItem): number {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (itemBelow(list[middle]!, item)) low = middle + 1;
    else high = middle;
  }
  return low;
}
