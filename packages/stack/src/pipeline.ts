import { copyFile, mkdir, stat, writeFile } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import {
  artifactPaths,
  askDynamicMappings,
  type CiSection,
  externals,
  type Flags,
  type JobSetup,
  type PipelineFile,
  type PipelineInput,
  type Pruner,
  prune,
  readSettings,
  relocateManifest,
  type Settings,
  stackCi,
  stackPipeline,
  untouched,
  upToDate,
} from '@stackwright/job-graph';
import { chooseSpack } from '@stackwright/spack';
import { type Lock, readPlainFile, readStackSettings } from '@stackwright/spack-env';
import { affectedJobs } from './affected.js';
import type { Caller } from './caller.js';
import { settingsText } from './carried.js';
import { credential } from './credentials.js';
import { StackError } from './error.js';
import { binaryMirrors, requireDestination, type StackMirrors } from './mirrors.js';
import { withheldFrom, withoutSecrets } from './secrets.js';
import type { Stack } from './stack.js';
import { locate, type Survey, type SurveyOptions, survey } from './survey.js';
import { version } from './version.js';

/** A pipeline before an engine's form is given to it. */
export interface PlannedPipeline {
  readonly ci: CiSection;
  readonly input: PipelineInput;
}

/**
 * The one way in which the pipeline of a stack is made, for `generate` and `run`: which jobs it has by what the mirrors
 * hold and what changed, and what each of them gets from the `ci:` section.
 * @param options.known what is known of the mirrors already; they are asked when it is left out
 * @param options.onEntry told of each entry of their indexes, where they are asked
 * @throws StackError for a stack without destination, JobGraphError without `ci:` section and for what is wrong in it
 */
export async function planPipeline(
  caller: Caller,
  stack: Stack,
  mirrors: StackMirrors,
  flags: Flags,
  { known, onEntry }: Pick<SurveyOptions, 'onEntry'> & { readonly known?: Survey } = {},
): Promise<PlannedPipeline> {
  const { env, cwd, signal } = caller;
  const environment = await stack.environment();
  const [lock, full] = [await stack.lock(), await stack.graph()];
  const settings = withoutParent(readSettings(env, flags, cwd), env);
  refuseForwarded(env, settings);
  const ci = stackCi(environment);
  const destination = requireDestination(environment);
  const nodes = [...full.jobs.values()].map((job) => job.node);
  const found =
    known ?? (await survey(mirrors, nodes, { by: settings.checkIndexOnly ? 'index' : undefined, onEntry }));
  const pruners: Pruner[] = [];
  if (settings.pruneExternals) pruners.push(externals);
  if (settings.pruneUpToDate) pruners.push(upToDate(locate(found)));
  const changed = settings.pruneUntouched ? await affectedJobs(caller, stack, full, settings) : undefined;
  if (changed) pruners.push(untouched(changed));
  const pruned = prune(full, pruners);
  const dynamic = await askDynamicMappings(pruned, ci, {
    env,
    variable: (name, { url, verified }) =>
      credential(env, name, { url, as: 'header', namedBy: 'stack', unverified: !verified }),
    skip: settings.skipDynamicMapping,
    signal,
    onWarning: (text) => caller.note(`Warning: ${text}`),
  });
  const input = stackPipeline(environment, lock, {
    pruned,
    settings,
    mirrors: {
      destination: { ...destination, view: destination.connection?.push.view },
      source: binaryMirrors(environment).find(({ name }) => name === 'buildcache-source'),
    },
    env,
    time: await lockTime(stack),
    ci,
    dynamic,
    needsRebuild: ({ hash }) => found.packages.get(hash)?.state !== 'usable',
    setup: await jobSetup(caller, lock),
    // What the user asks for here goes before what the stack says.
    fixed: ['SPACK_REPO', 'SPACK_REF'].filter((name) => env[name]),
  });
  return { ci, input };
}

/** Which Spack and which stackwright the jobs use. */
export async function jobSetup({ env, signal, note }: Caller, { spack }: Lock): Promise<JobSetup> {
  const { repo, ref } = await chooseSpack(env, spack, signal);
  const secret = repo !== undefined && withoutSecrets(repo, []) !== repo;
  if (secret) {
    note(
      'Warning: SPACK_REPO holds a password and is not written into the pipeline: set it as a masked variable.',
    );
  }
  return {
    stackwright: { version: version(), command: env.STACKWRIGHT_COMMAND || undefined },
    spack: { repo: secret ? undefined : repo, ref },
  };
}

/** What is handed on stands in the pipeline's file, which is an artifact. @throws StackError for a secret */
function refuseForwarded(env: NodeJS.ProcessEnv, { forwarded }: Settings): void {
  const secret = Object.keys(forwarded).find(withheldFrom(env));
  if (secret === undefined) return;
  throw new StackError('bad-value', `${secret} holds a secret and is not written into the pipeline.`, {
    hint: "Set it as a masked variable in the project's settings: jobs get it from there.",
  });
}

/** In a pipeline of another repository nobody can need the job that generates. */
function withoutParent(settings: Settings, env: NodeJS.ProcessEnv): Settings {
  return env.DOWNSTREAM_CI_REPO === undefined ? settings : { ...settings, generateJob: undefined };
}

/** Writes files where the project's folder says. */
export async function writeFiles(files: readonly PipelineFile[], { projectFolder }: Settings): Promise<void> {
  for (const file of files) await write(resolve(projectFolder, file.path), file.text);
}

/** Copies manifest and lock to where the jobs expect them. */
export async function writeJobEnvironment(stack: Stack, settings: Settings): Promise<void> {
  const { folder } = stack;
  const final = resolve(settings.projectFolder, artifactPaths(settings).environment);
  const manifest = await readPlainFile(join(folder, 'spack.yaml'));
  await write(join(final, 'spack.yaml'), relocateManifest(manifest, folder, final));
  await copyFile(join(folder, 'spack.lock'), join(final, 'spack.lock'));
  const { trust, ...others } = await readStackSettings(folder);
  // Jobs have to know whose signatures count; the keys themselves stay where they are.
  const moved = trust.map((file) => relative(final, resolve(folder, file)));
  const text = settingsText(moved, others);
  if (text) await write(join(final, 'stackwright.yaml'), text);
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
