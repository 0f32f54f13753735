import { writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import {
  buildStamp,
  engines,
  externals,
  type JobGraph,
  jobAttributes,
  parseCi,
  prune,
  readSettings,
} from '@stackwright/job-graph';
import {
  concreteSpec,
  type Environment,
  type Lock,
  parseSpec,
  type Spec,
  satisfies,
} from '@stackwright/spack-env';
import { ciConfigOf } from '../ci-config.js';
import type { Context } from '../context.js';

/**
 * Writes the GitLab pipeline of the whole graph: what a mirror has is decided anew when CI generates one. Large ones go
 * into several files beside each other.
 * @returns what to tell: the number of jobs, or why there is no pipeline
 */
export async function writePipeline(
  context: Context,
  environment: Environment,
  lock: Lock,
  graph: JobGraph,
  file: string,
): Promise<string> {
  const config = ciConfigOf(environment);
  const destination =
    config.mirrors.find(({ name }) => name === 'buildcache-destination') ?? config.mirrors[0];
  if (config.ci === undefined || config.ci === null || !destination) {
    return `none: spack.yaml has no ${destination ? '"ci:" section' : 'mirror'}`;
  }
  const ci = parseCi(config.ci, config.locate);
  const pruned = prune(graph, [externals]);
  const group = config.cdash?.['build-group'];
  const parsed = new Map<string, Spec>();
  const matches = (node: Parameters<typeof concreteSpec>[0], text: string) => {
    const spec = parsed.get(text) ?? parseSpec(text);
    parsed.set(text, spec);
    return satisfies(concreteSpec(node, lock.nodes), spec, lock.nodes);
  };
  const settings = readSettings(context.env, {}, context.cwd);
  const files = engines.gitlab.files(
    {
      pruned,
      ci,
      attributes: jobAttributes(pruned, ci, { matches }),
      settings,
      mirrors: { destination },
      // The same stack gives the same file: the stamp is of no day.
      ...(typeof group === 'string'
        ? { cdash: { buildGroup: group, buildStamp: buildStamp(context.env, group, new Date(0)) } }
        : {}),
      needsRebuild: () => true,
      spack: lock.spack,
    },
    { stack: environment.folder, from: settings.projectFolder, output: basename(file) },
  );
  for (const one of files) await writeFile(join(dirname(file), one.path), one.text);
  return `${pruned.graph.jobs.size} jobs${files.length > 1 ? ` in ${files.length} files` : ''}`;
}
