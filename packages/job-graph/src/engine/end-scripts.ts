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
    scripts.set('rebuild-index', { ...own, script: indexCommands(input, own.script, environment) });
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

/**
 * The commands of the index job, with the mirror's URL as one word of the shell, whatever is in it. As in Spack 1.3, a
 * destination with a view gets the stack's packages in that view, and its whole index is left alone.
 * @param environment the folder of the environment
 */
export function indexCommands(
  { mirrors, settings }: PipelineInput,
  lines: readonly string[],
  environment: string,
): string[] {
  const { push, view } = mirrors.destination;
  // A registry holds no keys.
  const whole = /^oci(\+https?)?:/.test(push) ? indexCommand.replace(' --keys', '') : indexCommand;
  const index =
    view === undefined
      ? whole
      : `${whole} --view ${shellWord(view)} --stack ${environment} --${settings.viewMode}`;
  return lines.map((line) =>
    (line === indexCommand ? index : line)
      .replaceAll('{env_dir}', () => environment)
      .replaceAll('{index_target_mirror}', () => shellWord(push)),
  );
}
