import { resolve } from 'node:path';
import { type CiSection, type Locate, parseCi } from '@stackwright/job-graph';
import { type ConfigNode, type Environment, resolvePath } from '@stackwright/spack-env';
import { StackError } from './error.js';

/**
 * The `ci:` section, which says what the jobs of a pipeline are to do.
 * @throws StackError when there is none, JobGraphError with every error in it
 */
export function ciSection({ config, nodes, file }: Environment): CiSection {
  if (config.ci === undefined || config.ci === null) {
    throw new StackError(
      'no-ci-section',
      `${file}: has no "ci:" section, which says what the jobs are to do.`,
      {
        hint: 'The smallest is  ci: {pipeline-gen: [{build-job: {tags: […]}}]}',
        file,
      },
    );
  }
  const locate: Locate = (path) => positionOf(nodes.get('ci'), path);
  return parseCi(config.ci, locate);
}

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

/** Where a value of the merged configuration was written; the nearest above it that is known. */
function positionOf(top: ConfigNode | undefined, path: readonly (string | number)[]) {
  let node = top;
  let at = top?.at;
  for (const step of path) {
    if (node?.kind === 'map') {
      const name = String(step);
      const entry = node.entries.get(name) ?? node.entries.get(name.replace(/[:+-]$/, ''));
      if (!entry) break;
      at = entry.at;
      node = entry.node;
    } else if (node?.kind === 'list') {
      node = node.items[Number(step)];
      at = node?.at ?? at;
    } else break;
  }
  return at;
}
