import type { PipelineFile } from '../engine/engine.js';
import type { PipelineInput } from '../engine/pipeline-input.js';
import { waveNumber, wavesOf } from '../engine/waves.js';
import { JobGraphError } from '../error.js';
import { callingWorkflow, type GithubOptions, githubWorkflow, waveWorkflow } from './workflow.js';

/** GitHub does not start a workflow whose file is larger than 512 KB. */
export const maximumBytes = 512_000;

/** GitHub calls no more than this many other workflows in one run. */
export const maximumCalls = 50;

/**
 * A workflow, in as many files as GitHub's limit asks for: a workflow that is too large calls others, which stand
 * beside it and hold the jobs of some levels each.
 * @param path where the first file goes, relative to the repository
 * @throws JobGraphError (`too-large`) for more jobs than GitHub runs in one workflow
 */
export function githubFiles(
  input: PipelineInput,
  options: GithubOptions,
  path: string,
  limit = maximumBytes,
): readonly PipelineFile[] {
  const text = githubWorkflow(input, options);
  if (Buffer.byteLength(text) <= limit) return [{ path, text }];
  const { graph } = input.pruned;
  const average = Buffer.byteLength(text) / graph.jobs.size;
  const waves = wavesOf(graph, {
    weight: () => average,
    limit,
    write: (wave) => waveWorkflow(input, options, wave),
  });
  const stem = path.replace(/\.ya?ml$/, '');
  const parts = waves.map((wave, at) => ({
    path: `${stem}-wave-${waveNumber(at, waves.length)}.yml`,
    text: wave.text,
  }));
  const oversized = parts.find((part) => Buffer.byteLength(part.text) > limit);
  if (oversized || parts.length > maximumCalls) {
    throw new JobGraphError(
      'too-large',
      oversized
        ? `A single job takes more than the ${limit} bytes that GitHub allows in a workflow file.`
        : `GitHub runs at most ${maximumCalls} workflow files of ${limit} bytes in one run, and ${graph.jobs.size} jobs need ${parts.length}.`,
      { hint: 'Prune more packages, or use another engine.' },
    );
  }
  const calling = callingWorkflow(
    input,
    options,
    parts.map((part) => part.path),
  );
  return [{ path, text: calling }, ...parts];
}
