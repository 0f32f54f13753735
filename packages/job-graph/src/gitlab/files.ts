import { basename, dirname, extname, join } from 'node:path/posix';
import { toPlain } from '../ci/attributes.js';
import type { PipelineFile } from '../engine/engine.js';
import type { PipelineInput, Plain } from '../engine/pipeline-input.js';
import { waveNumber, wavesOf } from '../engine/waves.js';
import { toYaml } from '../engine/yaml-text.js';
import type { JobGraph } from '../graph/graph.js';
import { fitsMemory, limitWarnings } from './limits.js';
import { assemblePipeline, type BuildJob, gitlabPipeline, type Pipeline } from './pipeline.js';

/** GitLab refuses a child pipeline whose YAML is larger. */
export const maximumBytes = 5_000_000;

/** A pipeline as GitLab takes it: one file, or a file that starts the others as child pipelines, one after another. */
export interface WrittenPipeline {
  /** The first is the one to trigger. */
  readonly files: readonly PipelineFile[];
  /** The graph of each file's build jobs; one where there is one file. */
  readonly waves: readonly JobGraph[];
  /** What a GitLab server with the usual settings would not take. */
  readonly warnings: readonly string[];
}

/**
 * Writes a pipeline. What is too large for one file, or for GitLab's memory, is first made smaller (what most jobs share goes into `default`)
 * and then cut into waves: child pipelines under one parent, each with the jobs of some levels.
 * @param path where the pipeline's file goes, relative to the project's folder; waves go beside it
 */
export function gitlabFiles(input: PipelineInput, path: string, limit = maximumBytes): WrittenPipeline {
  const whole = gitlabPipeline(input);
  const content = assemblePipeline(whole);
  const text = toYaml(content);
  if (bytes(text) <= limit && fitsMemory(content)) return oneFile(input, path, text, content);
  const smaller = assemblePipeline(withDefault(whole));
  const smallerText = toYaml(smaller);
  if (bytes(smallerText) <= limit) return oneFile(input, path, smallerText, smaller);
  return inWaves(input, whole, path, { limit, whole: bytes(smallerText) });
}

function oneFile(input: PipelineInput, path: string, text: string, content: Plain): WrittenPipeline {
  const warnings = limitWarnings([{ path, content }], input.settings.inChildPipeline);
  return { files: [{ path, text }], waves: [input.pruned.graph], warnings };
}

/** Moves what most build jobs have in common to `default`, which the other jobs then do not take. */
function withDefault(pipeline: Pipeline): Pipeline {
  const inheritable = [
    'after_script',
    'artifacts',
    'before_script',
    'cache',
    'hooks',
    'id_tokens',
    'image',
    'interruptible',
    'retry',
    'services',
    'tags',
    'timeout',
  ];
  const jobs = [...pipeline.builds.values()];
  const common: Record<string, unknown> = {};
  const contents = new Map<string, string>();
  // What jobs share is one object, and is written once.
  const texts = new WeakMap<object, string>();
  const contentOf = (value: unknown): string => {
    if (typeof value !== 'object' || value === null) return JSON.stringify(value);
    let text = texts.get(value);
    if (text === undefined) texts.set(value, (text = JSON.stringify(value)));
    return text;
  };
  for (const key of inheritable) {
    // A job that lacks the key would get it from the default.
    if (!jobs.every(({ body }) => body[key] !== undefined)) continue;
    const counts = new Map<string, number>();
    for (const { body } of jobs) {
      const content = contentOf(body[key]);
      counts.set(content, (counts.get(content) ?? 0) + 1);
    }
    const [most] = [...counts].sort((a, b) => b[1] - a[1])[0]!;
    common[key] = JSON.parse(most);
    contents.set(key, most);
  }
  const slim = ({ hash, body }: BuildJob): BuildJob => ({
    hash,
    body: Object.fromEntries(
      Object.entries(body).filter(
        ([key, value]) => !contents.has(key) || contents.get(key) !== contentOf(value),
      ),
    ),
  });
  const alone = (body: Plain) => ({ ...body, inherit: { default: false } });
  return {
    ...pipeline,
    common,
    builds: new Map([...pipeline.builds].map(([name, job]) => [name, slim(job)])),
    services: new Map([...pipeline.services].map(([name, body]) => [name, alone(body)])),
  };
}

function inWaves(
  input: PipelineInput,
  whole: Pipeline,
  path: string,
  size: { readonly limit: number; readonly whole: number },
): WrittenPipeline {
  const { limit } = size;
  const weight = new Map([...whole.builds.values()].map(({ hash, body }) => [hash, ownWeight(body)]));
  const sum = [...weight.values()].reduce((total, own) => total + own, 0);

  const pipelineOf = (wave: JobGraph): Pipeline => {
    const { stages, variables, builds, services, joints } = gitlabPipeline({
      ...input,
      pruned: { ...input.pruned, graph: wave },
      ci: { ...input.ci, rebuildIndex: false, temporaryStorage: undefined },
      settings: { ...input.settings },
    });
    // Signing is for the end of all waves.
    const own = new Map([...services].filter(([name]) => name.startsWith('joint-')));
    return withDefault({
      stages: stages.filter((s) => s !== 'stage-sign-pkgs'),
      variables,
      builds,
      services: own,
      joints,
    });
  };
  const waves = wavesOf(input.pruned.graph, {
    weight: (hash) => (weight.get(hash)! * size.whole) / sum,
    limit,
    write: (wave) => toYaml(assemblePipeline(pipelineOf(wave))),
  });
  const contents = waves.map((wave) => assemblePipeline(pipelineOf(wave.graph)));
  const ends = new Map([...whole.services].filter(([name]) => !name.startsWith('joint-')));
  const texts = waves.map((wave) => wave.text);
  if (ends.size > 0) {
    const stages = whole.stages.filter((stage) => [...ends.values()].some((body) => body.stage === stage));
    const last = assemblePipeline({ ...whole, stages, builds: new Map(), services: ends, joints: [] });
    contents.push(last);
    texts.push(toYaml(last));
  }
  const extension = extname(path);
  const stem = join(dirname(path), basename(path, extension));
  const files = texts.map((text, at) => ({
    path: `${stem}-wave-${waveNumber(at, texts.length)}${extension || '.yml'}`,
    text,
  }));
  const parent = assemblePipeline(parentOf(input, whole, files));
  return {
    files: [{ path, text: toYaml(parent) }, ...files],
    waves: waves.map((wave) => wave.graph),
    warnings: limitWarnings(
      [
        { path, content: parent },
        ...files.map((file, at) => ({ path: file.path, content: contents[at] ?? {} })),
      ],
      input.settings.inChildPipeline,
    ),
  };
}

/** How much of the written text is a job's own, in any unit. */
function ownWeight({ variables, needs }: Plain): number {
  // A need is mostly written as an alias.
  return JSON.stringify(variables).length + 20 * (needs as unknown[]).length + 500;
}

/**
 * The pipeline that starts the waves in turn. GitLab takes a child's file only from a job of the same pipeline, so a
 * first job hands on what the generating job left. A wave starts though one before had a failure: its jobs whose
 * dependencies are missing fail at once, all others are not held up.
 */
function parentOf(input: PipelineInput, whole: Pipeline, files: readonly PipelineFile[]): Pipeline {
  const name = (at: number) => `wave-${waveNumber(at, files.length)}`;
  const { generateJob } = input.settings;
  const own = toPlain(input.attributes.service.noop) as Record<string, unknown>;
  const handOn: Plain = {
    ...own,
    stage: 'wave-files',
    script: files.map((file) => `test -s ${JSON.stringify(file.path)}`),
    needs: generateJob?.pipeline ? [{ job: generateJob.job, pipeline: generateJob.pipeline }] : [],
    artifacts: { paths: files.map((file) => file.path) },
    retry: { max: 2 },
    interruptible: true,
  };
  const triggers = files.map(({ path }, at): [string, Plain] => [
    name(at),
    {
      stage: name(at),
      needs: [
        { job: 'wave-files', artifacts: false },
        ...(at > 0 ? [{ job: name(at - 1), artifacts: false }] : []),
      ],
      when: 'always',
      trigger: {
        include: [{ artifact: path, job: 'wave-files' }],
        strategy: 'depend',
        forward: { pipeline_variables: true },
      },
    },
  ]);
  return {
    stages: ['wave-files', ...triggers.map(([name]) => name)],
    variables: whole.variables,
    builds: new Map(),
    services: new Map([['wave-files', handOn], ...triggers]),
    joints: [],
  };
}

function bytes(text: string): number {
  return Buffer.byteLength(text);
}
