import type { ConcreteNode } from '@stackwright/spack-env';

// spack-env's `format` prints the same from a whole spec; making one for each node of a large lock only to print
// these few parts took longer than all the rest of generating a pipeline.

const flagNames = ['cflags', 'cppflags', 'cxxflags', 'fflags', 'ldflags', 'ldlibs'];
const plain = /^[a-zA-Z0-9,/_.\-[\]]+$/;

/** A node's variants as Spack prints them: `+shared~mpi build_system=cmake languages:='c,c++'`. */
export function variantsOf(node: ConcreteNode): string {
  const propagated = new Set((node.raw.propagate as string[] | undefined) ?? []);
  const abstract = new Set((node.raw.abstract as string[] | undefined) ?? []);
  let bools = '';
  const rest: string[] = [];
  for (const name of Object.keys(node.parameters).sort()) {
    if (flagNames.includes(name)) continue;
    const value = node.parameters[name]!;
    const spread = propagated.has(name);
    if (typeof value === 'boolean') {
      bools += (value ? '+' : '~').repeat(spread ? 2 : 1) + name;
      continue;
    }
    const list = Array.isArray(value);
    const exact = list && !abstract.has(name);
    const values = list ? [...value].sort() : [String(value)];
    const shown = name === 'patches' && exact ? values.map((hash) => hash.slice(0, 7)) : values;
    const text = shown.length === 0 ? '*' : shown.join(',');
    rest.push(`${name}${exact ? ':' : ''}${spread ? '==' : '='}${quote(text)}`);
  }
  return [bools, ...rest].filter(Boolean).join(' ');
}

/** The compiler of a node as Spack names it: the provider of C, else C++, else Fortran. */
export function compilerOf(
  node: ConcreteNode,
  find: (hash: string) => ConcreteNode | undefined,
): { readonly name: string; readonly version: string; readonly hash: string | undefined } | undefined {
  if (node.compiler) return { ...node.compiler, hash: undefined };
  for (const language of ['c', 'cxx', 'fortran']) {
    const edge = node.dependencies.find((each) => each.virtuals.includes(language));
    if (edge) return { name: edge.name, version: find(edge.hash)?.version ?? '', hash: edge.hash };
  }
  return undefined;
}

/** `platform-os-target`. */
export function architectureOf({ arch }: ConcreteNode): string {
  return `${arch.platform}-${arch.os}-${arch.target}`;
}

/** One node without its dependencies: `libgreet@1.2.0+shared flavor=fancy arch=linux-debian12-x86_64_v3`. */
export function specText(node: ConcreteNode): string {
  const variants = variantsOf(node);
  const flags = flagNames.flatMap((name) => {
    const value = node.parameters[name];
    return Array.isArray(value) && value.length > 0 ? [`${name}=${quote(value.join(' '))}`] : [];
  });
  const head = `${node.name}@${node.version}${/^[+~]/.test(variants) || !variants ? '' : ' '}${variants}`;
  return [head, ...flags, `arch=${architectureOf(node)}`].join(' ');
}

function quote(value: string): string {
  if (plain.test(value)) return value;
  return value.includes("'") ? JSON.stringify(value) : `'${value}'`;
}
