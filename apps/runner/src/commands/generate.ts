import { copyFile, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join, relative, resolve } from 'node:path';
import {
  affectedBy,
  artifactPaths,
  askDynamicMappings,
  branchName,
  buildStamp,
  type CiSection,
  changedPackages,
  copyManifest,
  type EngineName,
  engineNamed,
  engines,
  externals,
  type Flags,
  graphOf,
  type JobGraph,
  jobAttributes,
  matcherOf,
  type PipelineFile,
  type PipelineInput,
  type Pruned,
  type Pruner,
  parseCi,
  prune,
  pushDownstream,
  readSettings,
  relocateManifest,
  type Settings,
  stackChanged,
  untouched,
  upToDate,
} from '@stackwright/job-graph';
import { readStackSettings } from '@stackwright/spack-env';
import { Option } from 'commander';
import { stringify } from 'yaml';
import { type CiConfig, readCiConfig } from '../ci-config.js';
import type { Define } from '../command.js';
import { type Context, note, printJson } from '../context.js';
import { RunnerError } from '../exit.js';
import { type MirrorState, readMirrorStates } from '../mirror-state.js';
import { collect } from '../options.js';
import { openStack, readLock } from '../stack.js';

interface Options extends Omit<Flags, 'forwardVariables'> {
  readonly platform?: string;
  readonly os?: string;
  readonly target?: EngineName;
  readonly outputFile?: string;
  readonly forwardVariable: readonly string[];
  readonly json?: boolean;
}

export const define: Define = (command, context) => {
  command
    .argument('[stack]', 'folder with spack.yaml and spack.lock', '.')
    .addOption(new Option('--target <engine>', 'the engine to write for').choices(Object.keys(engines)))
    .option('--output-file <file>', 'where the pipeline goes (default for GitLab: .gitlab-ci.yml)')
    .option('--prune-dag', 'no jobs for specs that are up to date on a mirror (default)')
    .option('--no-prune-dag', 'jobs for specs that are up to date too')
    .option('--prune-unaffected', 'no jobs for specs that the last commit does not affect')
    .option('--no-prune-unaffected', 'jobs for specs that the last commit does not affect too (default)')
    .option('--prune-externals', 'no jobs for externals (default)')
    .option('--no-prune-externals', 'jobs for externals too')
    .option('--check-index-only', 'believe the indexes of the mirrors')
    .option('--artifacts-root <folder>', 'where jobs leave their artifacts (default: jobs_scratch_dir)')
    .option('--forward-variable <name>', 'hand a variable on to the jobs (repeatable)', collect, [])
    .option('--platform <name>', 'read the stack as on this platform (linux, darwin, windows)')
    .option('--os <name>', 'read the stack as on this operating system (debian12, rhel9)')
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
  const { folder, settings: own } = await openStack(context, argument);
  const [lock, config] = await Promise.all([
    readLock(folder),
    readCiConfig(context, folder, { platform: options.platform, os: options.os }),
  ]);
  const flags: Flags = { ...options, forwardVariables: options.forwardVariable };
  const downstream = context.env.DOWNSTREAM_CI_REPO;
  const settings = settingsFor(readSettings(context.env, flags, context.cwd), downstream !== undefined);
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
    trust: own.trust,
    folder,
  });
  const changes = settings.pruneUntouched
    ? await affected(context, folder, config, full, settings)
    : undefined;
  const pruned = prune(full, prunersOf(settings, state, changes));
  if (ci.brokenSpecsUrl) await refuseBroken(context, ci.brokenSpecsUrl, pruned, settings);
  const group = config.cdash?.['build-group'];
  const input: PipelineInput = {
    pruned,
    ci,
    attributes: jobAttributes(pruned, ci, {
      matches: matcherOf(lock),
      dynamic: await askDynamicMappings(pruned, ci, {
        env: context.env,
        skip: settings.skipDynamicMapping,
        signal: context.signal,
        onWarning: (text) => note(context, `Warning: ${text}`),
      }),
    }),
    settings,
    mirrors: { destination, source: config.mirrors.find((mirror) => mirror.name === 'buildcache-source') },
    cdash:
      typeof group === 'string'
        ? { buildGroup: group, buildStamp: buildStamp(context.env, group, await lockTime(folder)) }
        : undefined,
    needsRebuild: (job) => !state.indexed.has(job.hash),
    spack: lock.spack,
  };
  const place = { stack: folder, from: context.cwd, output: options.outputFile };
  const engine = engineNamed(options.target ?? ci.target);
  for (const warning of engine.warnings(input, place)) note(context, `Warning: ${warning}`);
  summarize(context, pruned);

  const target = engine.name;
  const files = engine.files(input, place);
  if (target === 'gitlab' && downstream) {
    await sendDownstream(context, downstream, input, folder, files);
    return;
  }
  for (const file of files) await write(resolve(settings.projectFolder, file.path), file.text);
  await writeEnvironment(folder, settings);
  const copies = copyManifest(input);
  if (copies) {
    const name = `copy_${settings.stackName ?? 'rebuilt'}_specs.json`;
    const path = join(artifactPaths(settings).copies, name);
    await write(resolve(settings.projectFolder, path), copies);
    note(context, `Wrote ${path}: what a later job is to copy to ${settings.copyDestination}.`);
  }
  const names = files.map((file) => file.path);
  if (options.json) printJson(context, { target, files: names, jobs: pruned.graph.jobs.size });
  else
    note(
      context,
      `Wrote ${names.join(', ')}: ${pruned.graph.jobs.size} of ${full.jobs.size} specs to build.`,
    );
}

/** In a pipeline of another repository nobody can need the job that generates. */
function settingsFor(settings: Settings, downstream: boolean): Settings {
  return downstream ? { ...settings, generateJob: undefined } : settings;
}

async function sendDownstream(
  context: Context,
  repository: string,
  { settings, pruned }: PipelineInput,
  folder: string,
  files: readonly PipelineFile[],
): Promise<void> {
  const [pipeline, ...more] = files;
  if (more.length > 0) {
    throw new RunnerError(
      'input',
      'The pipeline is too large for one file, and a server without child pipelines takes no more.',
      'Prune more, or leave DOWNSTREAM_CI_REPO away.',
    );
  }
  const staging = await mkdtemp(join(tmpdir(), 'stackwright-environment-'));
  try {
    const paths = artifactPaths(settings);
    await writeEnvironment(folder, settings, staging);
    const branch = branchName(context.env.CI_COMMIT_REF_NAME ?? settings.stackName ?? basename(folder));
    const commit = await pushDownstream({
      repository,
      branch,
      message: `Pipeline of ${basename(folder)}${context.env.CI_COMMIT_SHA ? ` at ${context.env.CI_COMMIT_SHA}` : ''}`,
      files: new Map([['.gitlab-ci.yml', pipeline!.text]]),
      folders: new Map([[paths.environment, staging]]),
      env: context.env,
      signal: context.signal,
    });
    note(context, `Pushed ${pruned.graph.jobs.size} jobs to the branch ${branch} downstream: ${commit}.`);
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
}

/** The jobs that the last commit can affect; undefined, with a note, when that prunes nothing. */
async function affected(
  context: Context,
  folder: string,
  config: CiConfig,
  full: JobGraph,
  settings: Settings,
): Promise<ReadonlySet<string> | undefined> {
  if (await stackChanged(folder, undefined, context.signal)) {
    note(context, 'The stack itself changed, so no spec counts as untouched.');
    return undefined;
  }
  const names = new Set<string>();
  let checkouts = 0;
  for (const repository of config.repositories) {
    const changed = await changedPackages(repository, undefined, context.signal);
    if (!changed) continue;
    checkouts++;
    for (const name of changed) names.add(name);
  }
  if (checkouts === 0) {
    throw new RunnerError(
      'missing',
      'Untouched specs are to be pruned, but no package repository of the stack is in a git checkout.',
      config.repositories.length > 0
        ? `Looked at: ${config.repositories.join(', ')}.`
        : 'The stack has no "repos:" with a path.',
    );
  }
  if (names.size === 0) {
    note(context, 'The last commit changed no package, so no spec counts as untouched.');
    return undefined;
  }
  return affectedBy(full, names, settings.untouchedDepth);
}

/** Ends generation when a spec to build is known to be broken, unless everything is to be rebuilt. */
async function refuseBroken(
  context: Context,
  url: string,
  { graph }: Pruned,
  settings: Settings,
): Promise<void> {
  if (settings.pipelineType === 'COPY_ONLY') return;
  const { openStore } = await import('@stackwright/storage');
  const store = await openStore(url, { env: context.env });
  try {
    if (!store.canList) {
      throw new RunnerError(
        'input',
        `ci:broken-specs-url is ${url}, whose entries cannot be listed.`,
        'Use file:// or s3://.',
      );
    }
    const hits: string[] = [];
    for await (const { key } of store.list('', { signal: context.signal })) {
      const job = graph.jobs.get(basename(key));
      if (job) hits.push(`${job.node.name}@${job.node.version}/${job.hash}`);
    }
    if (hits.length === 0) return;
    const text = `Known to be broken (${url}): ${hits.sort().join(', ')}.`;
    if (settings.pruneUpToDate || settings.pruneUntouched) throw new RunnerError('failed', text);
    note(context, `Warning: ${text}`);
  } finally {
    await store.close();
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

function prunersOf(
  settings: Settings,
  state: MirrorState,
  affected: ReadonlySet<string> | undefined,
): Pruner[] {
  const pruners: Pruner[] = [];
  if (settings.pruneExternals) pruners.push(externals);
  if (settings.pruneUpToDate) pruners.push(upToDate((job) => state.locations.get(job.hash)));
  if (affected) pruners.push(untouched(affected));
  return pruners;
}

function summarize(context: Context, pruned: Pruned): void {
  const lines = [...pruned.full.jobs.values()].map(({ hash, node }) => {
    const { action, reason } = pruned.decisions.get(hash)!;
    return `${action === 'build' ? '[x]' : ' - '} ${node.name}@${node.version}/${hash.slice(0, 7)}  ${reason}`;
  });
  note(context, lines.join('\n'));
}

/** Copies manifest and lock to where the jobs expect them, or to another folder that will be moved there. */
async function writeEnvironment(folder: string, settings: Settings, to?: string): Promise<void> {
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

async function lockTime(folder: string): Promise<Date> {
  return (await stat(join(folder, 'spack.lock'))).mtime;
}

async function write(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, text);
}
