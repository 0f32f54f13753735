import { basename, relative, resolve } from 'node:path';
import type { PipelineInput } from './pipeline-input.js';

/** A file that an engine runs, or that a file which it runs starts. */
export interface PipelineFile {
  /** Relative to the project's folder, with forward slashes. */
  readonly path: string;
  readonly text: string;
}

/** Where a pipeline is written, and the stack that it is for. */
export interface PipelinePlace {
  /** The folder with `spack.yaml` and `spack.lock`; absolute. */
  readonly stack: string;
  /** The folder that a relative `output`, and the default one, start from; absolute. */
  readonly from: string;
  /** Where the first file goes; the engine's default when left out. */
  readonly output?: string;
}

/** What runs a pipeline: a CI server, a batch system, or this machine. Engines are values without state. */
export interface Engine {
  /** As `--target` and `ci:target` name it. */
  readonly name: string;
  /** Where the first file goes unless the user says otherwise; relative to `place.from`. */
  readonly defaultPath: (input: PipelineInput, place: PipelinePlace) => string;
  /**
   * The files of the pipeline. The first is the one that the engine is given.
   * @throws JobGraphError for a pipeline that this engine does not run
   */
  readonly files: (input: PipelineInput, place: PipelinePlace) => readonly PipelineFile[];
  /** What a person has to know about the pipeline though it could be written. */
  readonly warnings: (input: PipelineInput, place: PipelinePlace) => readonly string[];
}

/** Where the first file of a pipeline goes, relative to the project's folder. */
export function outputPath(
  { defaultPath }: Pick<Engine, 'defaultPath'>,
  input: PipelineInput,
  place: PipelinePlace,
): string {
  const path = resolve(place.from, place.output ?? defaultPath(input, place));
  return relative(input.settings.projectFolder, path).replaceAll('\\', '/');
}

/** What the stack is called in names of jobs, workflows and files: what the environment says, else its folder. */
export function stackName({ settings }: PipelineInput, { stack }: PipelinePlace): string {
  return settings.stackName ?? basename(stack);
}

/** Warnings about a pipeline that hold for every engine. */
export function commonWarnings({ attributes, spack }: PipelineInput): readonly string[] {
  if (spack) return attributes.notes;
  return [
    ...attributes.notes,
    'The lock does not name the Spack that wrote it, so jobs are not told which one to use.',
  ];
}
