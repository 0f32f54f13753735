import { copyFile, mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import {
  artifactPaths,
  buildStamp,
  type CiSection,
  copyManifest,
  externals,
  type Flags,
  graphOf,
  jobAttributes,
  type PipelineInput,
  type Pruned,
  type Pruner,
  parseCi,
  prune,
  readSettings,
  relocateManifest,
  type Settings,
  upToDate,
  writePipeline,
} from '@stackwright/job-graph';
import { concreteSpec, type Lock, parseSpec, type Spec, satisfies } from '@stackwright/spack-env';
import { Option } from 'commander';
import { type CiConfig, readCiConfig } from '../ci-config.js';
import type { Define } from '../command.js';
import { type Context, note, printJson } from '../context.js';
import { RunnerError } from '../exit.js';
import { type MirrorState, readMirrorStates } from '../mirror-state.js';
import { openStack, readLock } from '../stack.js';

interface Options extends Omit<Flags, 'forwardVariables'> {
  readonly target?: 'gitlab' | 'github' | 'slurm';
  readonly outputFile?: string;
  readonly forwardVariable: readonly string[];
  readonly json?: boolean;
}

export const define: Define = (command, context) => {
  command
    .argument('[stack]', 'folder with spack.yaml and spack.lock', '.')
    .addOption(
      new Option('--target <engine>', 'the engine to write for').choices(['gitlab', 'github', 'slurm']),
    )
    .option('--output-file <file>', 'where the pipeline goes (default: .gitlab-ci.yml)')
    .option('--prune-dag', 'no jobs for specs that are up to date on a mirror (default)')
    .option('--no-prune-dag', 'jobs for specs that are up to date too')
    .option('--prune-unaffected', 'no jobs for specs that the last commit does not affect')
    .option('--no-prune-unaffected', 'jobs for specs that the last commit does not affect too (default)')
    .option('--prune-externals', 'no jobs for externals (default)')
    .option('--no-prune-externals', 'jobs for externals too')
    .option('--check-index-only', 'believe the indexes of the mirrors')
    .option('--artifacts-root <folder>', 'where jobs leave their artifacts (default: jobs_scratch_dir)')
    .option('--forward-variable <name>', 'hand a variable on to the jobs (repeatable)', collect, [])
    .option('--json', 'print what was written as JSON')
    .action((stack: string, options: Options) => run(context, stack, options));
  // Taken for the sake of calls that are written for Spack: the lock is concrete already.
  for (const flag of [
    '-f, --force',
    '-U, --fresh',
    '--reuse',
    '--fresh-roots',
    '--reuse-deps',
    '--deprecated',
  ]) {
    command.addOption(new Option(flag).hideHelp());
  }
  command.addOption(new Option('-j, --jobs <n>').hideHelp());
};

async function run(context: Context, argument: string, options: Options): Promise<void> {
  const stack = await openStack(context, argument);
  const { folder } = stack;
  const [lock, config] = await Promise.all([readLock(folder), readCiConfig(folder)]);
  const flags: Flags = { ...options, forwardVariables: options.forwardVariable };
  const settings = readSettings(context.env, flags, context.cwd);
  const ci = readSection(config, folder);
  const destination = config.mirrors.find((mirror) => mirror.name === 'buildcache-destination');
  if (!destination) {
    throw new RunnerError(
      'input',
      `${folder}/spack.yaml: no mirror is named "buildcache-destination", so jobs could not push.`,
      'Add to "mirrors:"  buildcache-destination: {url: …}',
    );
  }
  const full = graphOf(lock);
  const state = await readMirrorStates(context, config.mirrors, [...full.jobs.values()], {
    indexOnly: settings.checkIndexOnly,
    trust: stack.settings.trust,
    folder,
  });
  const pruned = prune(full, prunersOf(settings, state));
  const group = config.cdash?.['build-group'];
  const input: PipelineInput = {
    pruned,
    ci,
    attributes: jobAttributes(pruned, ci, { matches: matcher(lock) }),
    settings,
    mirrors: { destination, source: config.mirrors.find((mirror) => mirror.name === 'buildcache-source') },
    cdash:
      typeof group === 'string'
        ? { buildGroup: group, buildStamp: buildStamp(context.env, group, await lockTime(folder)) }
        : undefined,
    needsRebuild: (job) => !state.indexed.has(job.hash),
    spack: lock.spack,
  };
  for (const warning of warnings(input, context.env)) note(context, `Warning: ${warning}`);
  summarize(context, pruned);

  const output = resolve(context.cwd, options.outputFile ?? '.gitlab-ci.yml');
  const { files } = writePipeline(input, relative(settings.projectFolder, output).replaceAll('\\', '/'));
  for (const file of files) await write(resolve(settings.projectFolder, file.path), file.text);
  await writeEnvironment(folder, settings);
  const copies = copyManifest(input);
  if (copies) {
    const name = `copy_${settings.stackName ?? 'rebuilt'}_specs.json`;
    await write(resolve(settings.projectFolder, artifactPaths(settings).copies, name), copies);
  }
  if (options.json) {
    printJson(context, { files: files.map((file) => file.path), jobs: pruned.graph.jobs.size });
  } else {
    const names = files.map((file) => file.path).join(', ');
    note(context, `Wrote ${names}: ${pruned.graph.jobs.size} of ${full.jobs.size} specs to build.`);
  }
}

function readSection(config: CiConfig, folder: string): CiSection {
  if (config.ci === undefined || config.ci === null) {
    throw new RunnerError(
      'input',
      `${folder}/spack.yaml: has no "ci:" section, which says what the jobs are to do.`,
      'The smallest is  ci: {pipeline-gen: [{build-job: {tags: […]}}]}',
    );
  }
  return parseCi(config.ci, config.locate);
}

function prunersOf(settings: Settings, state: MirrorState): Pruner[] {
  const pruners: Pruner[] = [];
  if (settings.pruneExternals) pruners.push(externals);
  if (settings.pruneUpToDate) pruners.push(upToDate((job) => state.locations.get(job.hash)));
  return pruners;
}

/** Whether a node is what a submapping asks for; each text is parsed once. */
function matcher(
  lock: Lock,
): (node: Lock['nodes'] extends ReadonlyMap<string, infer N> ? N : never, match: string) => boolean {
  const parsed = new Map<string, Spec>();
  return (node, match) => {
    let spec = parsed.get(match);
    if (!spec) parsed.set(match, (spec = parseSpec(match)));
    return satisfies(concreteSpec(node, lock.nodes), spec, lock.nodes);
  };
}

function warnings({ settings, spack }: PipelineInput, env: NodeJS.ProcessEnv): string[] {
  const all: string[] = [];
  if (!settings.generateJob?.pipeline && env.CI) {
    all.push(
      'CI_JOB_NAME or CI_PIPELINE_ID is not set, so jobs cannot take the environment from the generating job.',
    );
  }
  if (!spack)
    all.push('The lock does not name the Spack that wrote it, so jobs are not told which one to use.');
  return all;
}

function summarize(context: Context, pruned: Pruned): void {
  const lines = [...pruned.full.jobs.values()].map(({ hash, spec }) => {
    const { action, reason } = pruned.decisions.get(hash)!;
    return `${action === 'build' ? '[x]' : ' - '} ${spec.name}@${spec.version}/${hash.slice(0, 7)}  ${reason}`;
  });
  note(context, lines.join('\n'));
}

/** Copies manifest and lock to where the jobs expect them. */
async function writeEnvironment(folder: string, settings: Settings): Promise<void> {
  const target = resolve(settings.projectFolder, artifactPaths(settings).environment);
  const manifest = await readFile(join(folder, 'spack.yaml'), 'utf8');
  await write(join(target, 'spack.yaml'), relocateManifest(manifest, folder, target));
  await copyFile(join(folder, 'spack.lock'), join(target, 'spack.lock'));
}

async function lockTime(folder: string): Promise<Date> {
  return (await stat(join(folder, 'spack.lock'))).mtime;
}

async function write(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, text);
}

function collect(value: string, all: readonly string[]): string[] {
  return [...all, value];
}
