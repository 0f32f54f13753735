import { byName, type Job } from '../graph/graph.js';
import { mirrorLayout, type PipelineInput } from './pipeline-input.js';

/**
 * The manifest of what is to be copied from the destination to `SPACK_COPY_BUILDCACHE`: source and destination of
 * each spec's manifest by hash. All specs but externals for a copy-only pipeline, else those that are built.
 */
export function copyManifest(input: PipelineInput): string | undefined {
  const { pruned, settings, mirrors } = input;
  const { copyDestination } = settings;
  if (!copyDestination) return undefined;
  const copyOnly = settings.pipelineType === 'COPY_ONLY';
  const jobs = [...(copyOnly ? pruned.full : pruned.graph).jobs.values()].filter(
    (job) => !copyOnly || !job.node.external,
  );
  const url = (prefix: string, { name, version, hash }: Job['node']) =>
    `${prefix.replace(/\/+$/, '')}/${mirrorLayout.specs}/${name}/${name}-${version}-${hash}.spec.manifest.json`;
  const entries = jobs
    .sort((a, b) => byName(a.node, b.node))
    .map(({ node, hash }) => [
      hash,
      { src: url(mirrors.destination.fetch, node), dest: url(copyDestination, node) },
    ]);
  return JSON.stringify(Object.fromEntries(entries));
}
