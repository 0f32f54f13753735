import type { CiSection } from '../ci/ci-section.js';
import type { JobAttributes } from '../ci/job-attributes.js';
import { artifactPaths, type Settings } from '../ci/settings.js';
import type { Job } from '../graph/graph.js';
import type { Pruned } from '../prune/prune.js';
import { cdashBuildName } from './cdash-name.js';
import { type JobSetup, setupVariables } from './setup.js';

/** The mirrors that a pipeline names. */
export interface PipelineMirrors {
  readonly destination: {
    readonly fetch: string;
    readonly push: string;
    /** The index view that the index job writes instead of the whole index. */
    readonly view?: string;
  };
  /** `buildcache-source`, which a copy-only pipeline needs. */
  readonly source?: { readonly fetch: string };
}

export interface PipelineInput {
  readonly pruned: Pruned;
  readonly ci: CiSection;
  readonly attributes: JobAttributes;
  readonly settings: Settings;
  readonly mirrors: PipelineMirrors;
  /** Only with a build group do jobs report to CDash. */
  readonly cdash?: { readonly buildGroup: string; readonly buildStamp: string };
  /** Whether no mirror's index has the spec, whatever was pruned. */
  readonly needsRebuild: (job: Job) => boolean;
  /** The Spack that wrote the lock, and so the one that its jobs are to use. */
  readonly spack?: { readonly version: string; readonly commit?: string };
  /** What jobs bring by themselves; nothing when left out. */
  readonly setup?: JobSetup;
}

/** A part of a pipeline as plain data, as it is written in YAML or JSON. */
export type Plain = Readonly<Record<string, unknown>>;

/** Where the manifests of a v3 mirror stand, relative to it. */
export const mirrorLayout = { specs: 'v3/manifests/spec', keys: 'v3/manifests/key' };

/** What one job is told of its spec beyond its attributes. */
export function jobVariables(
  { pruned, cdash, needsRebuild }: PipelineInput,
  job: Job,
): Readonly<Record<string, string>> {
  return {
    SPACK_SPEC_NEEDS_REBUILD: needsRebuild(job) ? 'True' : 'False',
    ...(cdash && {
      SPACK_CDASH_BUILD_NAME: cdashBuildName(pruned.full, job.hash, cdash.buildGroup),
      SPACK_CDASH_BUILD_STAMP: cdash.buildStamp,
    }),
  };
}

/** What every job of a pipeline is told. */
export function pipelineVariables({
  settings,
  spack,
  setup,
}: PipelineInput): Readonly<Record<string, string>> {
  const paths = artifactPaths(settings);
  const python = (value: boolean) => (value ? 'True' : 'False');
  const variables: Record<string, string> = {
    SPACK_ARTIFACTS_ROOT: settings.artifactsRoot,
    SPACK_CONCRETE_ENV_DIR: paths.environment,
    ...(spack && {
      SPACK_VERSION: spack.commit ? `${spack.version} (${spack.commit})` : spack.version,
      SPACK_CHECKOUT_VERSION: spack.commit ?? `v${spack.version}`,
    }),
    SPACK_JOB_LOG_DIR: paths.logs,
    SPACK_JOB_REPRO_DIR: paths.reproduction,
    SPACK_JOB_TEST_DIR: paths.tests,
    // Spack's own jobs look for these words, "None" included.
    SPACK_PIPELINE_TYPE: settings.pipelineType ?? 'None',
    SPACK_CI_STACK_NAME: settings.stackName ?? 'None',
    SPACK_REBUILD_CHECK_UP_TO_DATE: python(settings.pruneUpToDate),
    SPACK_REBUILD_EVERYTHING: python(!settings.pruneUpToDate && !settings.pruneUntouched),
    SPACK_REQUIRE_SIGNING: python(settings.requireSigning),
    ...settings.forwarded,
  };
  if (settings.stackName) variables.SPACK_CI_STACK_NAME = settings.stackName;
  return {
    ...Object.fromEntries(
      Object.entries(variables).map(([name, value]) => [name, value.replaceAll('\\', '/')]),
    ),
    ...(setup && setupVariables(setup)),
  };
}
