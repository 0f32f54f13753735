import { isAbsolute, join, relative } from 'node:path/posix';
import { JobGraphError } from '../error.js';

/** What kind of pipeline Spack's infrastructure runs; any other stack has none. */
export type PipelineType = 'COPY_ONLY' | 'PROTECTED_BRANCH' | 'PULL_REQUEST';

const pipelineTypes: Readonly<Record<string, PipelineType>> = {
  COPY_ONLY: 'COPY_ONLY',
  spack_copy_only: 'COPY_ONLY',
  PROTECTED_BRANCH: 'PROTECTED_BRANCH',
  spack_protected_branch: 'PROTECTED_BRANCH',
  PULL_REQUEST: 'PULL_REQUEST',
  spack_pull_request: 'PULL_REQUEST',
};

/** The flags of `spack ci generate`, as given; what was left out is undefined. */
export interface Flags {
  readonly artifactsRoot?: string;
  readonly pruneDag?: boolean;
  readonly pruneUnaffected?: boolean;
  readonly pruneExternals?: boolean;
  readonly checkIndexOnly?: boolean;
  readonly forwardVariables?: readonly string[];
}

/** Everything from flags and environment that a pipeline depends on. */
export interface Settings {
  /** Absolute. */
  readonly projectFolder: string;
  /** As it stands in the pipeline: relative where it lies in the project. */
  readonly artifactsRoot: string;
  readonly pruneUpToDate: boolean;
  readonly pruneUntouched: boolean;
  readonly pruneExternals: boolean;
  readonly checkIndexOnly: boolean;
  /** How many edges above a changed package are affected; undefined: up to the roots. */
  readonly untouchedDepth: number | undefined;
  readonly pipelineType: PipelineType | undefined;
  readonly stackName: string | undefined;
  readonly requireSigning: boolean;
  /** Where the pipeline's results are copied to: asks for a `specs_to_copy` manifest. */
  readonly copyDestination: string | undefined;
  /** What the index job does to an index view that exists, by `SPACK_CI_BUILDCACHE_VIEW`. */
  readonly viewMode: 'append' | 'force';
  readonly forwarded: Readonly<Record<string, string>>;
  /** The job that generates, as others can need it; undefined outside of GitLab. */
  readonly generateJob: { readonly job: string; readonly pipeline: string | undefined } | undefined;
  /** Whether this runs in a job of a CI server. */
  readonly inCi: boolean;
  /** Whether this runs in a child pipeline of GitLab, which can have children of its own, and they none. */
  readonly inChildPipeline: boolean;
  /** Names of dynamic mappings that match are not asked. */
  readonly skipDynamicMapping: RegExp | undefined;
}

/**
 * Reads what `spack ci generate` reads from flags and environment, with its precedence.
 * @throws JobGraphError (`input`) for a variable with a value that cannot be meant
 */
export function readSettings(env: NodeJS.ProcessEnv, flags: Flags, folder: string): Settings {
  const truth = (name: string, otherwise: boolean) => {
    const value = env[name]?.toLowerCase();
    if (value === undefined || value === '') return otherwise;
    if (value === 'true' || value === 'false') return value === 'true';
    if (value === '1' || value === 'yes' || value === 'on') return refuse(name, 'true');
    if (value === '0' || value === 'no' || value === 'off') return refuse(name, 'false');
    return refuse(name);
  };
  const refuse = (name: string, meant?: string): never => {
    throw new JobGraphError(
      'bad-variable',
      `${name} is ${JSON.stringify(env[name])}, which is neither "true" nor "false".`,
      { hint: meant ? `Set it to "${meant}": Spack takes every other value for false.` : undefined },
    );
  };
  const projectFolder = env.CI_PROJECT_DIR || folder;
  const root = (flags.artifactsRoot ?? 'jobs_scratch_dir').replaceAll('\\', '/');
  return {
    projectFolder,
    artifactsRoot: root.startsWith(projectFolder) ? relative(projectFolder, root) : root,
    pruneUpToDate: truth('SPACK_PRUNE_UP_TO_DATE', flags.pruneDag ?? true),
    pruneUntouched: truth('SPACK_PRUNE_UNTOUCHED', flags.pruneUnaffected ?? false),
    pruneExternals: flags.pruneExternals ?? true,
    checkIndexOnly: flags.checkIndexOnly ?? false,
    untouchedDepth: depth(env.SPACK_PRUNE_UNTOUCHED_DEPENDENT_DEPTH),
    pipelineType: pipelineType(env.SPACK_PIPELINE_TYPE),
    stackName: env.SPACK_CI_STACK_NAME || undefined,
    requireSigning: truth('SPACK_REQUIRE_SIGNING', false),
    copyDestination: env.SPACK_COPY_BUILDCACHE || undefined,
    viewMode: viewMode(env.SPACK_CI_BUILDCACHE_VIEW),
    forwarded: Object.fromEntries(
      (flags.forwardVariables ?? []).flatMap((name) => {
        const value = env[name];
        return value === undefined ? [] : [[name, value]];
      }),
    ),
    generateJob: env.CI_JOB_NAME ? { job: env.CI_JOB_NAME, pipeline: env.CI_PIPELINE_ID } : undefined,
    inCi: Boolean(env.CI),
    inChildPipeline: env.CI_PIPELINE_SOURCE === 'parent_pipeline',
    skipDynamicMapping: pattern(env.SPACK_CI_SKIP_DYNAMIC_MAPPING),
  };
}

/** What the index job does to an index view that exists. */
function viewMode(value: string | undefined): Settings['viewMode'] {
  if (!value || value === 'append') return 'append';
  if (value === 'force') return 'force';
  throw new JobGraphError(
    'bad-variable',
    `SPACK_CI_BUILDCACHE_VIEW is ${JSON.stringify(value)}, which is neither "append" nor "force".`,
    { hint: 'The name of the view is set in spack.yaml, as "view" of the mirror buildcache-destination.' },
  );
}

function pipelineType(value: string | undefined): PipelineType | undefined {
  // Spack writes `None` into pipelines that have no type, and a child pipeline may hand it on.
  if (!value || value === 'None') return undefined;
  const type = pipelineTypes[value];
  if (type) return type;
  throw new JobGraphError(
    'bad-variable',
    `SPACK_PIPELINE_TYPE is ${JSON.stringify(value)}, which is no pipeline type.`,
    { hint: `Known are: ${Object.keys(pipelineTypes).join(', ')}.` },
  );
}

function depth(value: string | undefined): number | undefined {
  if (value === undefined || value === '') return undefined;
  if (/^\s*[-+]?\d+\s*$/.test(value)) return Number(value);
  throw new JobGraphError(
    'bad-variable',
    `SPACK_PRUNE_UNTOUCHED_DEPENDENT_DEPTH is ${JSON.stringify(value)}, which is no whole number.`,
  );
}

function pattern(value: string | undefined): RegExp | undefined {
  if (!value) return undefined;
  try {
    return new RegExp(`^(?:${value})`);
  } catch (error) {
    throw new JobGraphError(
      'bad-variable',
      `SPACK_CI_SKIP_DYNAMIC_MAPPING is no regular expression: ${(error as Error).message}.`,
    );
  }
}

/** Where a pipeline's jobs keep what, relative to the project's folder, with forward slashes. */
export function artifactPaths({ projectFolder, artifactsRoot }: Settings) {
  const absolute = isAbsolute(artifactsRoot) ? artifactsRoot : join(projectFolder, artifactsRoot);
  const at = (name: string) => relative(projectFolder, join(absolute, name));
  return {
    environment: at('concrete_environment'),
    logs: at('logs'),
    reproduction: at('reproduction'),
    tests: at('tests'),
    userData: at('user_data'),
    copies: at('specs_to_copy'),
  };
}

/**
 * A CDash build stamp. The time comes from what stays the same when generation is repeated, so that its output does
 * too: the variable that holds the whole stamp, the pipeline's creation, the source's date, else `otherwise`.
 */
export function buildStamp(env: NodeJS.ProcessEnv, group: string, otherwise: Date): string {
  if (env.SPACK_CDASH_BUILD_STAMP) return env.SPACK_CDASH_BUILD_STAMP;
  const epoch = Number(env.SOURCE_DATE_EPOCH || Number.NaN) * 1000;
  const created = Date.parse(env.CI_PIPELINE_CREATED_AT ?? '');
  const time = [created, epoch].find((each) => Number.isFinite(each)) ?? otherwise.getTime();
  const [day, clock] = new Date(time).toISOString().split('T') as [string, string];
  return `${day.replaceAll('-', '')}-${clock.slice(0, 5).replace(':', '')}-${group}`;
}
