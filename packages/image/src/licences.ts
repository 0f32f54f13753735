import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** `license("MIT")` of a recipe, on a line of its own; more of it may follow in the call. */
const directive = /^ {4}license\(\s*(["'])([^"'\n]+)\1\s*([,)])([^\n]*)/gm;
/** SPDX 2.3, annex D: licence names, `AND`, `OR`, `WITH` and parentheses. */
const expression = /^[A-Za-z0-9.+()-]+(?: (?:AND|OR|WITH) [A-Za-z0-9.+()-]+)*$/;

/**
 * The licence that a package's recipe states, as an SPDX expression, from the first of these repositories that has the
 * package. Specs do not carry it.
 * @param repositories folders with `packages/`
 * @returns undefined where there is no recipe, or where it states none that holds for all versions
 */
export async function licenceOf(repositories: readonly string[], name: string): Promise<string | undefined> {
  for (const repository of repositories) {
    for (const folder of [moduleName(name), name]) {
      const path = join(repository, 'packages', folder, 'package.py');
      const recipe = await readFile(path, 'utf8').catch(() => undefined);
      if (recipe !== undefined) return statedIn(recipe);
    }
  }
  return undefined;
}

/** The folder of a package in repositories of API 2: names of Python modules. */
function moduleName(name: string): string {
  const module = name.replaceAll('-', '_');
  return /^\d/.test(module) ? `_${module}` : module;
}

function statedIn(recipe: string): string | undefined {
  const stated = [...recipe.matchAll(directive)];
  const [, , text = '', end, rest = ''] = stated[0] ?? [];
  // One of several holds only "when" something is so.
  if (stated.length !== 1 || (end === ',' && /\bwhen\b/.test(rest)) || !expression.test(text))
    return undefined;
  return text;
}
