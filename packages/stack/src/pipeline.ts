import { copyFile, mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import {
  artifactPaths,
  askDynamicMappings,
  buildStamp,
  type CiSection,
  externals,
  type Flags,
  githubWorkflow,
  jobAttributes,
  matcherOf,
  type PipelineFile,
  type PipelineInput,
  type Pruner,
  prune,
  readSettings,
  relocateManifest,
  type Settings,
  slurmScript,
  untouched,
  upToDate,
  writePipeline,
} from '@stackwright/job-graph';
import { readStackSettings } from '@stackwright/spack-env';
import { stringify } from 'yaml';
import { affectedJobs } from './affected.js';
import type { Caller } from './caller.js';
import { cdashSection, ciSection } from './configuration.js';
import { StackError } from './error.js';
import { binaryMirrors, requireDestination, type StackMirrors } from './mirrors.js';
import type { Stack } from './stack.js';
import { locate, type Survey, survey } from './survey.js';

/** What writes a pipeline that an engine runs. */
export type Engine = 'gitlab' | 'github' | 'slurm';

/** A pipeline before an engine's form is given to it. */
export interface PlannedPipeline {
  readonly ci: CiSection;
  readonly input: PipelineInput;
  /** What a person should know, a sentence each. */
  readonly warnings: readonly string[];
}

/**
 * The one way in which the pipeline of a stack is made, for `generate` and `run`: which jobs it has by what the mirrors
 * hold and what changed, and what each of them gets from the `ci:` section.
 * @param known what is known of the mirrors already; they are asked when it is left out
 * @throws StackError for a stack without `ci:` section or destination, JobGraphError for what is wrong in the section
 */
export async function planPipeline(
  caller: Caller,
  stack: Stack,
  mirrors: StackMirrors,
  flags: Flags,
  known?: Survey,
): Promise<PlannedPipeline> {
  const { env, cwd, signal } = caller;
  const environment = await stack.environment();
  const [lock, full] = [await stack.lock(), await stack.graph()];
  const settings = withoutParent(readSettings(env, flags, cwd), env);
  const ci = ciSection(environment);
  const destination = requireDestination(environment);
  const nodes = [...full.jobs.values()].map((job) => job.spec);
  const found = known ?? (await survey(mirrors, nodes, settings.checkIndexOnly ? { by: 'index' } : {}));
  const pruners: Pruner[] = [];
  if (settings.pruneExternals) pruners.push(externals);
  if (settings.pruneUpToDate) pruners.push(upToDate(locate(found)));
  const changed = settings.pruneUntouched ? await affectedJobs(caller, stack, full, settings) : undefined;
  if (changed) pruners.push(untouched(changed));
  const pruned = prune(full, pruners);
  const group = cdashSection(environment)?.['build-group'];
  const attributes = jobAttributes(pruned, ci, {
    matches: matcherOf(lock),
    dynamic: await askDynamicMappings(pruned, ci, {
      env,
      skip: settings.skipDynamicMapping,
      signal,
      onWarning: (text) => caller.note(`Warning: ${text}`),
    }),
  });
  const input: PipelineInput = {
    pruned,
    ci,
    attributes,
    settings,
    mirrors: {
      destination,
      source: binaryMirrors(environment).find(({ name }) => name === 'buildcache-source'),
    },
    cdash:
      typeof group === 'string'
        ? { buildGroup: group, buildStamp: buildStamp(env, group, await lockTime(stack)) }
        : undefined,
    needsRebuild: ({ hash }) => found.packages.get(hash)?.state !== 'usable',
    spack: lock.spack,
  };
  return { ci, input, warnings: warningsOf(input, env) };
}

/** In a pipeline of another repository nobody can need the job that generates. */
function withoutParent(settings: Settings, env: NodeJS.ProcessEnv): Settings {
  return env.DOWNSTREAM_CI_REPO === undefined ? settings : { ...settings, generateJob: undefined };
}

function warningsOf({ attributes, settings, spack }: PipelineInput, env: NodeJS.ProcessEnv): string[] {
  const all = [...attributes.notes];
  if (!settings.generateJob?.pipeline && env.CI) {
    all.push(
      'CI_JOB_NAME or CI_PIPELINE_ID is not set, so jobs cannot take the environment from the generating job.',
    );
  }
  if (!spack)
    all.push('The lock does not name the Spack that wrote it, so jobs are not told which one to use.');
  return all;
}

/** The engine of a name. @throws StackError for any other name */
export function engineOf(name: string): Engine {
  if (name === 'gitlab' || name === 'github' || name === 'slurm') return name;
  throw new StackError('bad-value', `ci:target is "${name}".`, { hint: 'Known are: gitlab, github, slurm.' });
}

/**
 * What an engine runs, as files relative to the project's folder.
 * @param output where the first file goes, relative to where the caller is; the engine's usual place when left out
 */
export function pipelineFiles(
  engine: Engine,
  input: PipelineInput,
  stack: Stack,
  { cwd }: Caller,
  output?: string,
): readonly PipelineFile[] {
  const { projectFolder, stackName } = input.settings;
  const name = stackName ?? stack.name;
  const path = (otherwise: string) =>
    relative(projectFolder, resolve(cwd, output ?? otherwise)).replaceAll('\\', '/');
  if (engine === 'gitlab') return writePipeline(input, path('.gitlab-ci.yml')).files;
  if (engine === 'slurm') {
    const text = slurmScript(input, { name, stack: stack.folder, folder: projectFolder });
    return [{ path: path(`${name}.slurm.sh`), text }];
  }
  const folder = relative(projectFolder, stack.folder).replaceAll('\\', '/');
  if (folder.startsWith('..')) {
    throw new StackError('bad-value', `${stack.folder} is not in the repository ${projectFolder}.`, {
      hint: 'Run generate from the root of the repository that holds the stack.',
    });
  }
  return [
    { path: path(`.github/workflows/${name}.yml`), text: githubWorkflow(input, { name, stack: folder }) },
  ];
}

/** Writes files where the project's folder says. */
export async function writeFiles(files: readonly PipelineFile[], { projectFolder }: Settings): Promise<void> {
  for (const file of files) await write(resolve(projectFolder, file.path), file.text);
}

/**
 * Copies manifest and lock to where the jobs expect them.
 * @param to another folder, whose content will be moved there
 */
export async function writeJobEnvironment(stack: Stack, settings: Settings, to?: string): Promise<void> {
  const { folder } = stack;
  const final = resolve(settings.projectFolder, artifactPaths(settings).environment);
  const target = to ?? final;
  const manifest = await readFile(join(folder, 'spack.yaml'), 'utf8');
  await write(join(target, 'spack.yaml'), relocateManifest(manifest, folder, final));
  await copyFile(join(folder, 'spack.lock'), join(target, 'spack.lock'));
  const { trust, image } = await readStackSettings(folder);
  if (trust.length === 0) return;
  // Jobs have to know whose signatures count; the keys themselves stay where they are.
  const moved = trust.map((file) => relative(final, resolve(folder, file)));
  const more = Object.keys(image).length > 0 ? { image } : {};
  await write(join(target, 'stackwright.yaml'), stringify({ trust: moved, ...more }));
}

/** Where a pipeline's manifest of copies goes, relative to the project's folder. */
export function copiesPath(settings: Settings): string {
  return join(artifactPaths(settings).copies, `copy_${settings.stackName ?? 'rebuilt'}_specs.json`);
}

async function lockTime({ folder }: Stack): Promise<Date> {
  return (await stat(join(folder, 'spack.lock'))).mtime;
}

async function write(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, text);
}

/** Writes one file for a pipeline, relative to the project's folder. */
export async function writeProjectFile(
  { projectFolder }: Settings,
  path: string,
  text: string,
): Promise<void> {
  await write(resolve(projectFolder, path), text);
}
