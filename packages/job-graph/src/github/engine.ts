import { relative } from 'node:path';
import { commands } from '../ci/attributes.js';
import { commonWarnings, type Engine, outputPath, type PipelinePlace, stackName } from '../engine/engine.js';
import type { PipelineInput } from '../engine/pipeline-input.js';
import { JobGraphError } from '../error.js';
import { githubFiles } from './files.js';
import { machineOf } from './place.js';

/** GitHub looks for workflows here and nowhere else. */
const workflows = '.github/workflows/';

/** GitHub Actions: a workflow with a job a package. */
export const github: Engine = {
  name: 'github',
  defaultPath: (input, place) => `${workflows}${stackName(input, place)}.yml`,
  files: (input, place) =>
    githubFiles(
      input,
      { name: stackName(input, place), stack: folderInRepository(input, place) },
      outputPath(github, input, place),
    ),
  warnings(input, place) {
    const path = outputPath(github, input, place);
    const warnings = [...commonWarnings(input), ...unknownSystems(input)];
    if (!path.startsWith(workflows)) {
      warnings.push(
        `GitHub runs only workflows in ${workflows} at the top of the repository, and ${path} is not there.`,
      );
    }
    return warnings;
  },
};

/** Binaries for one operating system are of no use when another one builds them. */
function unknownSystems({ pruned, attributes }: PipelineInput): string[] {
  const unknown = new Set<string>();
  for (const { hash, node } of pruned.graph.jobs.values()) {
    const own = attributes.build.get(hash);
    const image = own?.has('image') ? '' : undefined;
    const system = machineOf({ image, tags: commands(own?.get('tags')?.value) }, node).unknown;
    if (system !== undefined) unknown.add(system);
  }
  return [...unknown].map(
    (system) =>
      `There is no runner or image for the operating system ${JSON.stringify(system)}, so its jobs run on GitHub's Ubuntu. Name an image in the ci section, or tags with "self-hosted".`,
  );
}

/** A runner checks out the repository and nothing else, so the stack must be inside. */
function folderInRepository({ settings }: PipelineInput, { stack }: PipelinePlace): string {
  const folder = relative(settings.projectFolder, stack).replaceAll('\\', '/');
  if (folder !== '..' && !folder.startsWith('../')) return folder;
  throw new JobGraphError(
    'outside-repository',
    `The stack ${stack} is not in the repository ${settings.projectFolder}.`,
    { hint: 'Run the command in the repository that holds the stack.' },
  );
}
