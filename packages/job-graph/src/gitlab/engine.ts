import { commonWarnings, type Engine, outputPath } from '../engine/engine.js';
import { gitlabFiles } from './files.js';

/** GitLab CI: the child pipeline that `spack ci generate` writes, in several files where it is large. */
export const gitlab: Engine = {
  name: 'gitlab',
  defaultPath: () => '.gitlab-ci.yml',
  files: (input, place) => gitlabFiles(input, outputPath(gitlab, input, place)).files,
  warnings(input) {
    const { inCi, generateJob } = input.settings;
    if (!inCi || generateJob?.pipeline) return commonWarnings(input);
    return [
      ...commonWarnings(input),
      'CI_JOB_NAME or CI_PIPELINE_ID is not set, so jobs cannot take the environment from the generating job.',
    ];
  },
};
