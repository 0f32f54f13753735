import { createHash } from 'node:crypto';
import { type ConfigNode, type Environment, type Position, plainValue } from '@stackwright/spack-env';

/** The sections that a concretization depends on. What `specs` and `definitions` say is in the roots. */
const sections = ['compilers', 'concretizer', 'develop', 'packages', 'repos', 'toolchains'];

/** One setting that a concretization depends on. */
export interface Setting {
  /** A digest of its value: 16 hexadecimal digits. */
  readonly digest: string;
  readonly at: Position;
}

/**
 * The settings of a stack that its concretization depends on, by their path as Spack writes it (`packages:zlib:require`),
 * those that hold for one group only below its name (`[tools] packages:all:require`). In alphabetical order.
 */
export function settingsOf({ nodes, groups }: Environment): Map<string, Setting> {
  const settings: [string, Setting][] = [];
  for (const section of sections) {
    const node = nodes.get(section);
    if (node) collect(section, node, node.at, section === 'packages' ? 2 : 1, settings);
  }
  for (const { name, needs, override, at } of groups) {
    if (needs.length > 0) settings.push([`[${name}] needs`, { digest: digestOf(needs), at }]);
    for (const [section, value] of Object.entries(override))
      settings.push([`[${name}] ${section}`, { digest: digestOf(value), at }]);
  }
  return new Map(settings.sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** @param depth how many more mappings are taken apart */
function collect(
  path: string,
  node: ConfigNode,
  at: Position,
  depth: number,
  into: [string, Setting][],
): void {
  if (depth > 0 && node.kind === 'map' && node.entries.size > 0) {
    for (const [key, entry] of node.entries) collect(`${path}:${key}`, entry.node, entry.at, depth - 1, into);
  } else {
    into.push([path, { digest: digestOf(plainValue(node)), at }]);
  }
}

function digestOf(value: unknown): string {
  return createHash('sha256')
    .update(JSON.stringify(sorted(value)))
    .digest('hex')
    .slice(0, 16);
}

/** The order of a mapping's keys says nothing in Spack's configuration; that of a list does. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, inner]) => [key, sorted(inner)]),
  );
}
