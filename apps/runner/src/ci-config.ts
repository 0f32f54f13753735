import type { Locate, PipelineMirrors } from '@stackwright/job-graph';
import type { ConfigNode, Environment, Mirror } from '@stackwright/spack-env';
import { RunnerError } from './exit.js';

/** What the merged configuration of a stack says of its pipeline. */
export interface CiConfig {
  readonly ci: unknown;
  readonly cdash: Readonly<Record<string, unknown>> | undefined;
  /** Those for binaries, in order of precedence. */
  readonly mirrors: readonly Mirror[];
  readonly locate: Locate;
}

/** Picks the `ci`, `cdash` and `mirrors` sections out of an environment. */
export function ciConfigOf(environment: Environment): CiConfig {
  const { config, nodes, mirrors } = environment;
  return {
    ci: config.ci,
    cdash: config.cdash as CiConfig['cdash'],
    mirrors: mirrors.filter((mirror) => mirror.binary),
    locate: (path) => {
      let node: ConfigNode | undefined = nodes.get('ci');
      let found = node?.at;
      for (const step of path) {
        if (node?.kind === 'map') {
          const key: string = String(step);
          const entry = node.entries.get(key) ?? node.entries.get(key.replace(/[:+-]$/, ''));
          if (!entry) break;
          found = entry.at;
          node = entry.node;
        } else if (node?.kind === 'list') {
          node = node.items[Number(step)];
          found = node?.at ?? found;
        } else break;
      }
      return found;
    },
  };
}

/** The addresses that a pipeline names: `buildcache-destination`, else the first mirror, and `buildcache-source`. */
export function pipelineMirrors({ mirrors }: CiConfig): PipelineMirrors {
  const named = (name: string) => mirrors.find((mirror) => mirror.name === name);
  const destination = named('buildcache-destination') ?? mirrors[0];
  const source = named('buildcache-source');
  if (!destination)
    throw new RunnerError('input', 'The stack has no mirror for binaries.', 'Add one below "mirrors:".');
  return {
    destination: { fetch: destination.fetch.url, push: destination.push.url },
    ...(source ? { source: { fetch: source.fetch.url } } : {}),
  };
}
