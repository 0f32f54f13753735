import { indexCommand } from '../ci/job-attributes.js';
import { type JobScript, jobScript } from './job-script.js';
import { mirrorLayout, type PipelineInput } from './pipeline-input.js';
import { shellWord } from './shell.js';

/**
 * What comes after all builds, by name: only the index; copying is made for Spack's own GitLab, and
 * signing is for engines that can keep the key from all other jobs.
 * With nothing to build it is the job that says so, as an engine may refuse to have none at all.
 */
export function endScripts(input: PipelineInput, environment: string): Map<string, JobScript> {
  const { ci, attributes, setup } = input;
  const scripts = new Map<string, JobScript>();
  if (input.pruned.graph.jobs.size === 0) {
    scripts.set('no-specs-to-rebuild', jobScript(attributes.service.noop, { environment }));
  } else if (ci.rebuildIndex) {
    const own = jobScript(attributes.service.reindex, { environment, setup });
    scripts.set('rebuild-index', { ...own, script: indexCommands(input, own.script) });
  }
  return scripts;
}

/** What the script of a `signing-job` is told about the mirror. */
export function signingVariables({ mirrors }: PipelineInput): Readonly<Record<string, string>> {
  return {
    SPACK_BUILDCACHE_DESTINATION: mirrors.destination.push,
    SPACK_BUILDCACHE_RELATIVE_SPECS_URL: mirrorLayout.specs,
    SPACK_BUILDCACHE_RELATIVE_KEYS_URL: mirrorLayout.keys,
  };
}

/** The commands of the index job, with the mirror's URL as one word of the shell, whatever is in it. */
export function indexCommands({ mirrors }: PipelineInput, lines: readonly string[]): string[] {
  const { push } = mirrors.destination;
  // A registry holds no keys.
  const index = /^oci(\+https?)?:/.test(push) ? indexCommand.replace(' --keys', '') : indexCommand;
  return lines.map((line) =>
    (line === indexCommand ? index : line).replaceAll('{index_target_mirror}', () => shellWord(push)),
  );
}
