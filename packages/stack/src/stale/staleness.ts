import { join } from 'node:path';
import {
  compareLock,
  type Environment,
  type Finding,
  formatFinding,
  type IncludedDifference,
  type Lock,
  largestLock,
  type Position,
  parseLock,
  type Root,
  readPlainFile,
} from '@stackwright/spack-env';
import type { Caller } from '../caller.js';
import { StackError } from '../error.js';
import type { Stack } from '../stack.js';
import { isWhole, readOrigin } from './origin.js';
import { findRepositories, hashRecipes } from './recipes.js';
import { settingsOf } from './settings.js';

/** What changed in a stack since its lock was written. */
export interface Staleness {
  /** Roots that the lock lacks, or has and should not: its jobs are not those of the stack. */
  readonly roots: readonly Finding[];
  /** Recipes, settings and included environments that are others now: a new concretization may give other packages. */
  readonly others: readonly Finding[];
}

/**
 * Compares a stack with what its lock was made from, without Spack. Roots are compared with the lock itself; recipes and
 * settings with `stackwright.lock`, where `stackwright concretize` left one.
 * @param groups look at the roots of these groups only
 */
export async function stalenessOf(
  environment: Environment,
  lock: Lock,
  env: NodeJS.ProcessEnv,
  groups?: readonly string[],
): Promise<Staleness> {
  const origin = await readOrigin(environment.folder, lock);
  const others = await includedNow(environment);
  const { missing, extra, included } = compareLock(environment, lock, others);
  const isAsked = ({ group }: { readonly group: string }) =>
    groups === undefined || lock.version < 7 || groups.includes(group);
  const gone = extra.filter(isAsked);
  const places = gone.length > 0 ? await rootPlaces(environment.folder, gone) : [];
  return {
    // A part of the manifest that was not read may ask for any root.
    roots: isMissingParts(environment)
      ? []
      : [
          ...missing
            .filter(isAsked)
            .map(({ text, at }) => stale('stale-lock', `"${text}" is not in spack.lock.`, at)),
          ...gone.map(({ spec }, index) =>
            stale(
              'stale-lock',
              `spack.lock still has "${spec}", which the manifest does not ask for.`,
              places[index],
            ),
          ),
        ],
    others: [
      ...included.map((difference) => staleInclude(difference, environment)),
      ...(origin?.settings && isWhole(environment) ? staleSettings(environment, origin.settings) : []),
      ...(origin ? await staleRecipes(environment, lock, origin.recipes, env) : []),
    ],
  };
}

/**
 * Says what changed since a stack's lock was written, as warnings.
 * @param options.refuse end where roots are missing or gone, unless `stale` goes on with them
 * @throws StackError (`stale-lock`) for the first such root, with its place
 */
export async function tellStale(
  { env, note }: Caller,
  stack: Stack,
  { refuse = false, stale = false }: { readonly refuse?: boolean; readonly stale?: boolean } = {},
): Promise<void> {
  const environment = await stack.environment();
  const { roots, others } = await stalenessOf(environment, await stack.wholeLock(), env, stack.groups);
  const [first, ...more] = roots;
  if (first && refuse && !stale) {
    const rest = more.length > 0 ? ` (and ${more.length} more)` : '';
    throw new StackError(
      'stale-lock',
      `${formatFinding({ ...first, hint: undefined })}${rest} spack.yaml was changed after it was concretized.`,
      { hint: `Run: stackwright concretize ${stack.folder}\nTo go on with the lock as it is: --stale` },
    );
  }
  for (const finding of [...roots, ...others]) note(`Warning: ${formatFinding(finding)}`);
}

function stale(code: string, message: string, position?: Position): Finding {
  return { severity: 'warning', code, message, position, hint: 'Concretize again.' };
}

function isMissingParts({ findings }: Environment): boolean {
  return findings.some(({ code }) => code === 'remote-include');
}

/** Where roots stand in `spack.lock`. */
async function rootPlaces(folder: string, roots: readonly Root[]): Promise<(Position | undefined)[]> {
  const file = join(folder, 'spack.lock');
  const text = await readPlainFile(file, largestLock).catch(() => '');
  return roots.map(({ hash }) => {
    const offset = text.indexOf(`"${hash}"`);
    if (offset < 0) return undefined;
    const before = text.slice(0, offset);
    return { file, line: before.split('\n').length, column: offset - before.lastIndexOf('\n'), offset };
  });
}

/** The locks of the environments that are included, as they are now; what is not there is told when the manifest is read. */
async function includedNow({ includeConcrete }: Environment): Promise<Map<string, Lock>> {
  const locks = new Map<string, Lock>();
  for (const folder of includeConcrete) {
    const file = join(folder, 'spack.lock');
    const text = await readPlainFile(file, largestLock).catch(() => undefined);
    if (text !== undefined) locks.set(folder, parseLock(text, file));
  }
  return locks;
}

function staleInclude({ path, change }: IncludedDifference, { file }: Environment): Finding {
  const messages = {
    missing: `spack.lock does not have the concrete specs of ${path}, which the manifest includes.`,
    extra: `spack.lock still has the concrete specs of ${path}, which the manifest does not include.`,
    changed: `The included environment ${path} was concretized again since spack.lock was written.`,
  };
  return stale('stale-include', messages[change], { file, line: 1, column: 1 });
}

function staleSettings(environment: Environment, before: Readonly<Record<string, string>>): Finding[] {
  const now = settingsOf(environment);
  const paths = [...new Set([...Object.keys(before), ...now.keys()])].sort();
  return paths.flatMap((path) => {
    const setting = now.get(path);
    const old = Object.hasOwn(before, path) ? before[path] : undefined;
    if (setting?.digest === old) return [];
    const what = !setting ? 'was removed' : old === undefined ? 'was added' : 'changed';
    const place = setting?.at ?? above(path, environment);
    return [stale('stale-setting', `The setting ${path} ${what} since spack.lock was written.`, place)];
  });
}

/** Where a setting was: its section, else the manifest. */
function above(path: string, { nodes, groups, file }: Environment): Position {
  const group = groups.find(({ name }) => path.startsWith(`[${name}] `));
  return group?.at ?? nodes.get(path.split(':')[0] ?? '')?.at ?? { file, line: 1, column: 1 };
}

async function staleRecipes(
  environment: Environment,
  lock: Lock,
  before: Readonly<Record<string, { readonly packages: Readonly<Record<string, string>> }>>,
  env: NodeJS.ProcessEnv,
): Promise<Finding[]> {
  const repositories = await findRepositories(environment, lock, env);
  const now = await hashRecipes(lock, repositories);
  return Object.entries(before).flatMap(([namespace, { packages }]) => {
    const repository = repositories.get(namespace);
    // What is not on this machine cannot be compared.
    if (!repository) return [];
    const changed = Object.entries(packages)
      .filter(([name, hash]) => now.get(namespace)?.get(name) !== hash)
      .map(([name]) => name);
    if (changed.length === 0) return [];
    const [first = ''] = changed;
    const who = changed.length === 1 ? `The recipe of ${first}` : `The recipes of ${changed.join(', ')}`;
    const message = `${who} in the repository "${namespace}" changed since spack.lock was written (${repository.folder}).`;
    return [stale('stale-recipe', message)];
  });
}
