import { relative } from 'node:path';
import { commonWarnings, type Engine, outputPath, type PipelinePlace, stackName } from '../engine/engine.js';
import type { PipelineInput } from '../engine/pipeline-input.js';
import { JobGraphError } from '../error.js';
import { githubFiles } from './files.js';

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
    if (path.startsWith(workflows)) return commonWarnings(input);
    return [
      ...commonWarnings(input),
      `GitHub runs only workflows in ${workflows} at the top of the repository, and ${path} is not there.`,
    ];
  },
};

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
