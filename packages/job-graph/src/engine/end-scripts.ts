import { type JobScript, jobScript } from './job-script.js';
import type { PipelineInput } from './pipeline-input.js';

/**
 * What comes after all builds, by name: only the index; signing and copying are made for Spack's own GitLab.
 * With nothing to build it is the job that says so, as an engine may refuse to have none at all.
 */
export function endScripts(input: PipelineInput, environment: string): Map<string, JobScript> {
  const { ci, attributes, mirrors } = input;
  const scripts = new Map<string, JobScript>();
  if (input.pruned.graph.jobs.size === 0) {
    scripts.set('no-specs-to-rebuild', jobScript(attributes.service.noop, environment));
  } else if (ci.rebuildIndex) {
    const own = jobScript(attributes.service.reindex, environment);
    const script = own.script.map((line) =>
      line.replaceAll('{index_target_mirror}', mirrors.destination.push),
    );
    scripts.set('rebuild-index', { ...own, script });
  }
  return scripts;
}
