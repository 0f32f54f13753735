import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Locate } from '@stackwright/job-graph';
import type { ConfigNode, Environment, MirrorConnection } from '@stackwright/spack-env';
import type { Context } from './context.js';
import { readEnvironment } from './stack.js';
import { loadOptions, type StackOptions } from './stack-options.js';

/** A mirror of the configuration, as pipelines need it. */
export interface ConfiguredMirror {
  readonly name: string;
  readonly fetch: string;
  readonly push: string;
  /** Whether only signed binaries of it count. */
  readonly signed: boolean;
  /** Whether the stack says in so many words that its binaries are not signed. */
  readonly unsigned?: boolean;
  /** How to reach it: endpoint, profile, the variables that hold its secrets. Left out: as the environment says. */
  readonly connection?: { readonly fetch: MirrorConnection; readonly push: MirrorConnection };
}

/** What the configuration of a stack says of its pipeline. */
export interface CiConfig {
  readonly ci: unknown;
  readonly cdash: Readonly<Record<string, unknown>> | undefined;
  /** Those for binaries, in order. */
  readonly mirrors: readonly ConfiguredMirror[];
  /** Absolute folders of package repositories on this machine. */
  readonly repositories: readonly string[];
  readonly locate: Locate;
}

/**
 * Reads a stack's configuration with all that it includes.
 * @throws SpackEnvError with everything that is wrong with it
 */
export async function readCiConfig(
  context: Context,
  folder: string,
  options: StackOptions = {},
): Promise<CiConfig> {
  return ciConfigOf(await readEnvironment(context, folder, loadOptions(options, context)));
}

/** Picks the sections out of an environment. */
export function ciConfigOf(environment: Environment): CiConfig {
  const { config, nodes, mirrors } = environment;
  return {
    ci: config.ci,
    cdash: config.cdash as CiConfig['cdash'],
    mirrors: mirrors
      .filter((mirror) => mirror.binary)
      .map(({ name, fetch, push, signed }) => ({
        name,
        fetch: fetch.url,
        push: push.url,
        // As in Spack, a registry has no place for signatures, whatever the configuration says.
        unsigned: signed === false,
        signed: (signed ?? true) && !/^oci(\+http)?:/.test(fetch.url),
        connection: { fetch, push },
      })),
    repositories: repositoriesOf(environment),
    locate: (path) => positionOf(nodes.get('ci'), path),
  };
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

function repositoriesOf({ config, folder }: Environment): string[] {
  const section = config.repos;
  const entries = Array.isArray(section) ? section : Object.values((section ?? {}) as object);
  return entries
    .filter((entry): entry is string => typeof entry === 'string' && !/^\$|^[a-z]+:\/\//.test(entry))
    .map((entry) => resolve(folder, entry));
}

/** A mirror's address from the command line; what is no address is a path. */
export function mirrorUrl(text: string, folder: string): string {
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(text)) return text;
  return pathToFileURL(resolve(folder, text)).href;
}
