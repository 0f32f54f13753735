/**
 * Configuration values whose keys remember how they were written (`key::`, `key+:`, `key-:`), because Spack applies
 * that when a value is merged, and once more when its own defaults are.
 */
export type Value = null | boolean | number | string | readonly Value[] | Attributes;

export type Mode = 'merge' | 'replace' | 'prepend' | 'append';

/** Keys in order. Immutable: merging shares what it does not change. */
export type Attributes = ReadonlyMap<string, { readonly mode: Mode; readonly value: Value }>;

const modes: Readonly<Record<string, Mode>> = { ':': 'replace', '+': 'prepend', '-': 'append' };

/** Splits `script:` (as YAML reads `script::`) into the key and its mode. */
export function splitKey(key: string): { readonly name: string; readonly mode: Mode } {
  const mode = modes[key.at(-1) ?? ''];
  return mode ? { name: key.slice(0, -1), mode } : { name: key, mode: 'merge' };
}

/** Reads plain data. Only mappings in mappings have modes, as in Spack; those inside lists keep their keys. */
export function toAttributes(plain: Readonly<Record<string, unknown>>): Attributes {
  return new Map(
    Object.entries(plain).map(([key, value]) => {
      const { name, mode } = splitKey(key);
      return [name, { mode, value: toValue(value, true) }];
    }),
  );
}

function toValue(plain: unknown, modal: boolean): Value {
  if (plain === null || plain === undefined) return null;
  if (typeof plain === 'string' || typeof plain === 'number' || typeof plain === 'boolean') return plain;
  if (Array.isArray(plain)) return plain.map((item) => toValue(item, false));
  const entries = Object.entries(plain as Record<string, unknown>);
  if (modal) return toAttributes(plain as Record<string, unknown>);
  return new Map(entries.map(([key, value]) => [key, { mode: 'merge', value: toValue(value, false) }]));
}

const plains = new WeakMap<object, unknown>();

/** Plain data again; the same value gives the same object. */
export function toPlain(value: Value): unknown {
  if (value === null || typeof value !== 'object') return value;
  let plain = plains.get(value);
  if (plain === undefined) {
    plain = isList(value)
      ? value.map(toPlain)
      : Object.fromEntries([...value].map(([key, entry]) => [key, toPlain(entry.value)]));
    plains.set(value, plain);
  }
  return plain;
}

/**
 * Spack's merge: what is in `source` wins and stands first. Lists are joined without repeats, mappings by key,
 * everything else is replaced.
 */
export function merge(dest: Value, source: Value, mode: Mode = 'merge'): Value {
  if (isList(dest) && isList(source)) {
    const rest = without(dest, source);
    return mode === 'append' ? [...rest, ...source] : [...source, ...rest];
  }
  if (isMapping(dest) && isMapping(source)) return mergeAttributes(dest, source);
  if (typeof dest === 'string' && typeof source === 'string') {
    if (mode === 'prepend') return source + dest;
    if (mode === 'append') return dest + source;
  }
  return source;
}

export function mergeAttributes(dest: Attributes, source: Attributes): Attributes {
  const merged = new Map<string, { mode: Mode; value: Value }>();
  for (const [key, { mode, value }] of source) {
    const old = dest.get(key);
    merged.set(key, { mode, value: old && mode !== 'replace' ? merge(old.value, value, mode) : value });
  }
  for (const [key, entry] of dest) if (!source.has(key)) merged.set(key, entry);
  return merged;
}

/**
 * Spack's removal: list items that `source` has go, mappings are looked into, and `key::` removes the key whole.
 * A plain value cannot be removed without `::`; its key only moves to the end.
 */
export function removeAttributes(dest: Attributes, source: Attributes): Attributes {
  const left = new Map(dest);
  for (const [key, { mode, value }] of source) {
    const old = left.get(key);
    if (!left.delete(key) || !old || mode === 'replace') continue;
    left.set(key, { mode, value: remove(old.value, value) });
  }
  return left;
}

function remove(dest: Value, source: Value): Value {
  if (isList(dest) && isList(source)) return without(dest, source);
  if (isMapping(dest) && isMapping(source)) return removeAttributes(dest, source);
  return dest;
}

function without(list: readonly Value[], other: readonly Value[]): readonly Value[] {
  const keys = new Set(other.map(identity));
  return list.filter((item) => !keys.has(identity(item)));
}

function identity(value: Value): string {
  return typeof value === 'object' ? JSON.stringify(toPlain(value)) : `${typeof value}:${value}`;
}

export function isList(value: Value | undefined): value is readonly Value[] {
  return Array.isArray(value);
}

export function isMapping(value: Value | undefined): value is Attributes {
  return value instanceof Map;
}

/** A script's commands in one list. */
export function commands(value: Value | undefined): string[] {
  if (!isList(value)) return [];
  return value.flatMap((item) => (isList(item) ? item.map(String) : [String(item)]));
}
