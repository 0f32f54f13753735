import type { Finding } from '../error.js';
import type { LoadOptions } from './environment.js';
import type { ConfigNode } from './node.js';
import { textPlace } from './node.js';
import type { Scope } from './scope.js';

/** Sections whose texts are no paths of ours: a shell reads the scripts of `ci:`, Spack the others. */
const elsewhere = new Set(['ci', 'cdash', 'definitions', 'packages', 'env_vars']);

/** References of paths and URLs to variables that are withheld, each an error. */
export function withheldReferences(
  scopes: readonly Scope[],
  { env = process.env, withheld = () => false }: Pick<LoadOptions, 'env' | 'withheld'>,
): Finding[] {
  const findings: Finding[] = [];
  const visit = (node: ConfigNode): void => {
    if (node.kind === 'list') node.items.forEach(visit);
    else if (node.kind === 'map') for (const entry of node.entries.values()) visit(entry.node);
    else if (typeof node.value === 'string') findings.push(...referencesIn(node.value, node));
  };
  const referencesIn = (text: string, node: ConfigNode): Finding[] =>
    [...text.matchAll(/\$(?:(\w+)|\{([^}]*)\})/g)].flatMap((match): Finding[] => {
      const name = match[1] ?? match[2] ?? '';
      if (!Object.hasOwn(env, name) || !withheld(name)) return [];
      return [
        {
          severity: 'error',
          code: 'secret-variable',
          message: `The variable ${name} holds a secret and is not filled in.`,
          position: textPlace(node),
          hint: 'No path or address may hold a secret. For the credentials of a mirror, name the variable: access_pair or access_token_variable.',
        },
      ];
    });
  for (const { sections } of scopes) {
    for (const [section, entry] of sections) if (!elsewhere.has(section)) visit(entry.node);
  }
  return findings;
}
