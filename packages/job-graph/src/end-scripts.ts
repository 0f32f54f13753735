import type { PipelineInput } from './gitlab/pipeline.js';
import { type JobScript, jobScript } from './job-script.js';

/** What comes after all builds, by name: only the index; signing and copying are made for Spack's own GitLab. */
export function endScripts(input: PipelineInput, environment: string): Map<string, JobScript> {
  const { ci, attributes, mirrors } = input;
  const scripts = new Map<string, JobScript>();
  if (ci.rebuildIndex && input.pruned.graph.jobs.size > 0) {
    const own = jobScript(attributes.service.reindex, environment);
    const script = own.script.map((line) => line.replaceAll('{index_target_mirror}', mirrors.destination.push));
    scripts.set('rebuild-index', { ...own, script });
  }
  return scripts;
}
