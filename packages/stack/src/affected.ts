import {
  affectedBy,
  changedPackages,
  type JobGraph,
  type Settings,
  stackChanged,
} from '@stackwright/job-graph';
import type { Caller } from './caller.js';
import { repositoriesOf } from './configuration.js';
import { StackError } from './error.js';
import type { Stack } from './stack.js';

/**
 * The jobs that the last commit can affect.
 * @returns undefined, with a note, when that prunes nothing
 * @throws StackError when no package repository of the stack is in a git checkout
 */
export async function affectedJobs(
  { note, signal }: Caller,
  stack: Stack,
  full: JobGraph,
  { untouchedDepth }: Settings,
): Promise<ReadonlySet<string> | undefined> {
  if (await stackChanged(stack.folder, undefined, signal)) {
    note('The stack itself changed, so no spec counts as untouched.');
    return undefined;
  }
  const names = new Set<string>();
  const repositories = repositoriesOf(await stack.environment());
  let checkouts = 0;
  for (const repository of repositories) {
    const changed = await changedPackages(repository, undefined, signal);
    if (!changed) continue;
    checkouts++;
    for (const name of changed) names.add(name);
  }
  if (checkouts === 0) {
    throw new StackError(
      'no-history',
      'Untouched specs are to be pruned, but no package repository of the stack is in a git checkout.',
      {
        hint:
          repositories.length > 0
            ? `Looked at: ${repositories.join(', ')}.`
            : 'The stack has no "repos:" with a path.',
      },
    );
  }
  if (names.size === 0) {
    note('The last commit changed no package, so no spec counts as untouched.');
    return undefined;
  }
  return affectedBy(full, names, untouchedDepth);
}
