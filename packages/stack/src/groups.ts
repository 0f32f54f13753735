import { graphOf } from '@stackwright/job-graph';
import {
  type Environment,
  groupsOf,
  type Lock,
  lockOfGroups,
  type RootSpec,
  shippedLock,
  unknownGroup,
} from '@stackwright/spack-env';
import type { Caller } from './caller.js';
import { once } from './once.js';
import { openStack, readLock, type Stack, stackFolder } from './stack.js';

/**
 * The same stack with nothing in its lock and graph but the roots of some groups and all that they need.
 * @param groups names; an empty list leaves the stack as it is
 */
export function inGroups(stack: Stack, groups: readonly string[]): Stack {
  if (groups.length === 0) return stack;
  const lock = once(async () => lockOfGroups(await stack.wholeLock(), groups));
  return { ...stack, groups, lock, graph: once(async () => graphOf(await lock())) };
}

/**
 * The one rule for what an image and a push of a stack hold: the groups that the caller asked for, else those that
 * `image: groups:` of `stackwright.yaml` names, else those that no other group needs. A compiler in a group that others
 * need stays out that way.
 * @throws SpackEnvError (`unknown-group`) for a group that the lock does not have
 */
export async function shipped(stack: Stack): Promise<Lock> {
  const lock = await stack.wholeLock();
  const groups = stack.groups ?? stack.settings.image.groups ?? (await unneededGroups(stack, lock));
  return groups ? shippedLock(lock, groups) : lock;
}

/** The same for a stack that is named by its folder, which needs no manifest where its lock has no groups. */
export async function shippedOf(caller: Caller, argument: string, groups: readonly string[]): Promise<Lock> {
  const folder = await stackFolder(caller, argument);
  if (groups.length === 0) {
    const lock = await readLock(folder);
    if (groupsOf(lock).length < 2) return lock;
  }
  return shipped(inGroups(await openStack(caller, folder), groups));
}

/** The groups of a lock that no other group needs; undefined where that is all of them. */
async function unneededGroups(stack: Stack, lock: Lock): Promise<string[] | undefined> {
  const known = groupsOf(lock);
  if (known.length < 2) return undefined;
  const { groups } = await stack.environment();
  const needed = new Set(groups.flatMap(({ needs }) => needs));
  const unneeded = known.filter((name) => !needed.has(name));
  return unneeded.length === known.length || unneeded.length === 0 ? undefined : unneeded;
}

/**
 * The roots that a manifest asks for, of some groups or of all.
 * @throws SpackEnvError (`unknown-group`) for a group that the manifest does not have, naming those that it has
 */
export function specsOf({ groups, specs }: Environment, names: readonly string[]): readonly RootSpec[] {
  const known = groups.map(({ name }) => name);
  const unknown = names.find((name) => !known.includes(name));
  if (unknown !== undefined) throw unknownGroup(unknown, known, 'The stack');
  return names.length === 0 ? specs : specs.filter(({ group }) => names.includes(group));
}
