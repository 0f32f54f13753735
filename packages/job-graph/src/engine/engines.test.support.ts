import { satisfies } from '@stackwright/spack-env';
import { parseCi } from '../ci/ci-section.js';
import { jobAttributes } from '../ci/job-attributes.js';
import { type Flags, readSettings } from '../ci/settings.js';
import type { JobGraph } from '../graph/graph.js';
import { externals, prune } from '../prune/prune.js';
import type { PipelineInput } from './pipeline-input.js';
import type { JobSetup } from './setup.js';

/** Everything for a pipeline of a graph, with a `ci` section and as little else as can be. */
export function inputOf(
  full: JobGraph,
  ci: object,
  more: {
    env?: NodeJS.ProcessEnv;
    flags?: Flags;
    mirror?: string;
    folder?: string;
    buildGroup?: string;
    setup?: JobSetup;
    fixed?: readonly string[];
  } = {},
): PipelineInput {
  const pruned = prune(full, [externals]);
  const section = parseCi(ci);
  const url = more.mirror ?? 's3://bucket/mirror';
  const nodes = new Map([...full.jobs.values()].map((job) => [job.hash, job.node]));
  return {
    pruned,
    ci: section,
    attributes: jobAttributes(pruned, section, {
      matches: (node, match) => satisfies(node, match, nodes),
      fixed: more.fixed,
    }),
    settings: readSettings(more.env ?? {}, more.flags ?? {}, more.folder ?? '/project'),
    mirrors: { destination: { fetch: url, push: url } },
    cdash: more.buildGroup
      ? { buildGroup: more.buildGroup, buildStamp: `20260101-0000-${more.buildGroup}` }
      : undefined,
    needsRebuild: () => true,
    setup: more.setup,
  };
}
