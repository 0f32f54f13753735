export type { Attributes, Mode, Value } from './ci/attributes.js';
export type {
  CiSection,
  DynamicMapping,
  GenSection,
  JobKind,
  Locate,
  Path,
  Submapping,
} from './ci/ci-section.js';
export { parseCi } from './ci/ci-section.js';
export type { AttributeOptions, JobAttributes, ServiceKind } from './ci/job-attributes.js';
export { jobAttributes } from './ci/job-attributes.js';
export type { Flags, PipelineType, Settings } from './ci/settings.js';
export { artifactPaths, buildStamp, readSettings } from './ci/settings.js';
export { duration } from './duration.js';
export type { DynamicMappingOptions } from './dynamic-mapping.js';
export { askDynamicMappings } from './dynamic-mapping.js';
export { cdashBuildName } from './engine/cdash-name.js';
export { copyManifest } from './engine/copy-manifest.js';
export type { Engine, PipelineFile, PipelinePlace } from './engine/engine.js';
export type { EngineName } from './engine/engines.js';
export { engineNamed, engines } from './engine/engines.js';
export type { PipelineInput, PipelineMirrors } from './engine/pipeline-input.js';
export type { ManifestPath } from './engine/relocated-manifest.js';
export { pathsOf, relocateManifest, withPaths } from './engine/relocated-manifest.js';
export type { JobSetup } from './engine/setup.js';
export { shellWord } from './engine/shell.js';
export type { StackPipelineOptions } from './engine/stack-pipeline.js';
export { stackCi, stackPipeline } from './engine/stack-pipeline.js';
export type { JobGraphErrorCode } from './error.js';
export { JobGraphError } from './error.js';
export type { PinnedAction } from './github/actions.js';
export { githubActions } from './github/actions.js';
export { maximumBytes as githubFileBytes, maximumCalls as githubWorkflows } from './github/files.js';
export type { DownstreamOptions } from './gitlab/downstream.js';
export { branchName, pushDownstream } from './gitlab/downstream.js';
export { maximumBytes as gitlabFileBytes } from './gitlab/files.js';
export { maximumNeeds as gitlabNeeds } from './gitlab/needs.js';
export type { Job, JobGraph, LooseJob } from './graph/graph.js';
export { assemble, graphOf, reach, shortName } from './graph/graph.js';
export type { ListedNode, Listing } from './graph/listing.js';
export { listingOf, toDot, toMermaid, toText } from './graph/listing.js';
export { matcherOf } from './graph/matcher.js';
export { compilerOf, specText } from './graph/node-text.js';
export type { CriticalPath, Durations } from './graph/order.js';
export { criticalPath, levels, longestPathFirst, tails } from './graph/order.js';
export { transitiveReduction } from './graph/reduction.js';
export type { Outcome, PlanEvent, PlanOptions, PlanResult } from './local/plan.js';
export { runPlan } from './local/plan.js';
export type { PlanState } from './local/remaining.js';
export { remainingTime } from './local/remaining.js';
export type { Revisions } from './prune/git-changes.js';
export { changedPackages, stackChanged } from './prune/git-changes.js';
export type { Decision, Location, Pruned, Pruner } from './prune/prune.js';
export {
  affectedBy,
  externals,
  keep,
  only,
  prune,
  skip,
  untouched,
  upToDate,
} from './prune/prune.js';
export type { BuildTime, History } from './simulate/history.js';
export {
  expectedDurations,
  noHistory,
  parseHistory,
  recordedDurations,
  remember,
  unknownDuration,
  writeHistory,
} from './simulate/history.js';
export type {
  Forecast,
  ForecastOptions,
  Run,
  Simulation,
  SimulationOptions,
  Strategy,
} from './simulate/simulate.js';
export { forecast, simulate, worthwhile } from './simulate/simulate.js';
