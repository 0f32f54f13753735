import { microarchitectures } from './microarchitectures.js';

/** A processor family or model that compilers can build for. */
export interface Microarchitecture {
  readonly name: string;
  readonly parents: readonly string[];
  /** `generic` for families and levels such as `x86_64_v3`. */
  readonly vendor: string;
  /** ARM's CPU part (`0xd40`) or POWER's generation (`9`). */
  readonly part: string;
  /** Its own features and those of all ancestors, as `/proc/cpuinfo` names them. */
  readonly features: ReadonlySet<string>;
  /** Itself and all that it descends from: code for these runs on it. */
  readonly lineage: ReadonlySet<string>;
}

let table: Map<string, Microarchitecture> | undefined;

/** All known targets by name, ancestors first. */
export function knownTargets(): ReadonlyMap<string, Microarchitecture> {
  if (table) return table;
  table = new Map();
  for (const line of microarchitectures.trim().split('\n')) {
    const [name, parentNames, vendor, part, own] = line.split('|');
    const split = (text: string | undefined) => (text ? text.split(' ') : []);
    const parents = split(parentNames).map((parent) => table!.get(parent)!);
    table.set(name!, {
      name: name!,
      parents: parents.map((parent) => parent.name),
      vendor: vendor || 'generic',
      part: part ?? '',
      features: new Set([...parents.flatMap((parent) => [...parent.features]), ...split(own)]),
      lineage: new Set([name!, ...parents.flatMap((parent) => [...parent.lineage])]),
    });
  }
  return table;
}

/** A target by name; one that is not known stands alone. */
export const target = (name: string): Microarchitecture =>
  knownTargets().get(name) ?? {
    name,
    parents: [],
    vendor: 'generic',
    part: '',
    features: new Set(),
    lineage: new Set([name]),
  };

/** The family of a target: the ancestor that has no parents. */
export const targetFamily = (name: string): string =>
  [...target(name).lineage].find((ancestor) => target(ancestor).parents.length === 0) ?? name;

/** Whether code for `general` runs on `special`. */
const descends = (special: string, general: string): boolean => target(special).lineage.has(general);

/** Whether a target constraint names exactly one target: no range, no list. */
export const isExactTarget = (text: string): boolean => !/[:,]/.test(text);

/** What two target constraints (`zen2`, `x86_64:`, `:zen3`, `a,b:c`) have in common, as a list of names and ranges. */
export function intersectTargets(a: string, b: string): string[] {
  const results: string[] = [];
  for (const left of a.split(',')) {
    for (const right of b.split(',')) {
      const common = intersectTargetRanges(left, right);
      if (common !== undefined) results.push(common);
    }
  }
  return results;
}

function intersectTargetRanges(left: string, right: string): string | undefined {
  if (isExactTarget(left)) {
    if (isExactTarget(right)) return left === right ? left : undefined;
    return targetWithin(left, right) ? left : undefined;
  }
  if (isExactTarget(right)) return targetWithin(right, left) ? right : undefined;
  const [aMin, aMax] = ends(left);
  const [bMin, bMax] = ends(right);
  const max = tighter(aMax, bMax, (x, y) => descends(y, x));
  const min = tighter(aMin, bMin, (x, y) => descends(x, y));
  if (max === undefined || min === undefined) return undefined;
  if (!min || !max) return `${min}:${max}`;
  if (!descends(max, min)) return undefined;
  return min === max ? min : `${min}:${max}`;
}

function ends(range: string): [string, string] {
  const colon = range.indexOf(':');
  return [range.slice(0, colon), range.slice(colon + 1)];
}

function targetWithin(name: string, range: string): boolean {
  const [min, max] = ends(range);
  return (!min || descends(name, min)) && (!max || descends(max, name));
}

/** The tighter of two bounds, where an empty one does not bind; `undefined` when they cannot be compared. */
function tighter(a: string, b: string, binds: (x: string, y: string) => boolean): string | undefined {
  if (!a || !b) return a || b;
  if (targetFamily(a) !== targetFamily(b)) return undefined;
  return binds(a, b) ? a : binds(b, a) ? b : undefined;
}
