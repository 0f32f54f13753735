import { resolve } from 'node:path';
import { type Environment, resolvePath } from '@stackwright/spack-env';

/** The `cdash:` section. */
export function cdashSection({ config }: Environment): Readonly<Record<string, unknown>> | undefined {
  return config.cdash as Readonly<Record<string, unknown>> | undefined;
}

/** `config:install_tree:root`, where the stack sets it; variables filled in. */
export function installRootOf({ config, folder, variables }: Environment): string | undefined {
  const tree = (config.config as { install_tree?: string | { root?: string } } | undefined)?.install_tree;
  const root = typeof tree === 'string' ? tree : tree?.root;
  return root === undefined ? undefined : resolvePath(root, folder, variables);
}

/** Absolute folders of the package repositories of a stack that lie on this machine. */
export function repositoriesOf({ config, folder }: Environment): string[] {
  const section = config.repos;
  const entries = Array.isArray(section) ? section : Object.values((section ?? {}) as object);
  return entries
    .filter((entry): entry is string => typeof entry === 'string' && !/^\$|^[a-z]+:\/\//.test(entry))
    .map((entry) => resolve(folder, entry));
}
