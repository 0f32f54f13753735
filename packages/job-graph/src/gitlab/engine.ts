import { commonWarnings, type Engine, outputPath, type PipelinePlace } from '../engine/engine.js';
import type { PipelineInput } from '../engine/pipeline-input.js';
import { gitlabFiles, type WrittenPipeline } from './files.js';

/** GitLab CI: the child pipeline that `spack ci generate` writes, in several files where it is large. */
export const gitlab: Engine = {
  name: 'gitlab',
  defaultPath: () => '.gitlab-ci.yml',
  files: (input, place) => writtenFor(input, place).files,
  warnings(input, place) {
    const warnings = [...commonWarnings(input), ...writtenFor(input, place).warnings];
    const { inCi, generateJob } = input.settings;
    if (inCi && !generateJob?.pipeline) {
      warnings.push(
        'CI_JOB_NAME or CI_PIPELINE_ID is not set, so jobs cannot take the environment from the generating job.',
      );
    }
    return warnings;
  },
};

/** Files and warnings come of the same work, which is done once for an input. */
const written = new WeakMap<PipelineInput, { readonly path: string; readonly pipeline: WrittenPipeline }>();

function writtenFor(input: PipelineInput, place: PipelinePlace): WrittenPipeline {
  const path = outputPath(gitlab, input, place);
  const known = written.get(input);
  if (known?.path === path) return known.pipeline;
  const pipeline = gitlabFiles(input, path);
  written.set(input, { path, pipeline });
  return pipeline;
}
