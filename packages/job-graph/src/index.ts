export type { Attributes } from './attributes.js';
export { toAttributes } from './attributes.js';
export { cdashBuildName } from './cdash-name.js';
export type { CiSection, GenSection, Locate, Path } from './ci-section.js';
export { parseCi } from './ci-section.js';
export type { DownstreamOptions } from './downstream.js';
export { branchName, pushDownstream } from './downstream.js';
export type { DynamicMappingOptions } from './dynamic-mapping.js';
export { askDynamicMappings } from './dynamic-mapping.js';
export { JobGraphError } from './error.js';
export type { Revisions } from './git-changes.js';
export { changedPackages, lastCommit, stackChanged } from './git-changes.js';
export type { GithubOptions } from './github.js';
export { githubWorkflow } from './github.js';
export { relocateManifest } from './gitlab/environment.js';
export type { PipelineFile, WrittenPipeline } from './gitlab/files.js';
export { maximumBytes, writePipeline } from './gitlab/files.js';
export { maximumNeeds } from './gitlab/needs.js';
export type { Pipeline, PipelineInput, PipelineMirrors } from './gitlab/pipeline.js';
export { assemblePipeline, copyManifest, gitlabPipeline } from './gitlab/pipeline.js';
export type { Job, JobGraph, LooseJob } from './graph.js';
export { assemble, graphOf, reach, shortName } from './graph.js';
export type { BuildTime, History } from './history.js';
export {
  expectedDurations,
  noHistory,
  parseHistory,
  remember,
  unknownDuration,
  writeHistory,
} from './history.js';
export type { JobAttributes } from './job-attributes.js';
export { jobAttributes } from './job-attributes.js';
export type { ListedNode, Listing } from './listing.js';
export { listingOf, toDot, toMermaid, toText } from './listing.js';
export { matcherOf } from './match.js';
export type { CriticalPath, Durations } from './order.js';
export { criticalPath, levels, levelsAmong, longestPathFirst, tails } from './order.js';
export type { JobState, PageOptions, Section, State } from './page.js';
export { duration, renderPage } from './page.js';
export type { Outcome, PlanEvent, PlanOptions, PlanResult } from './plan.js';
export { runPlan } from './plan.js';
export type { Decision, Location, Pruned, Pruner } from './prune.js';
export { affectedBy, broken, externals, keep, only, prune, skip, untouched, upToDate } from './prune.js';
export { transitiveReduction } from './reduction.js';
export type { Flags, PipelineType, Settings } from './settings.js';
export { artifactPaths, buildStamp, readSettings } from './settings.js';
export type { Forecast, ForecastOptions, Run, Simulation, SimulationOptions, Strategy } from './simulate.js';
export { forecast, simulate, worthwhile } from './simulate.js';
export type { SlurmOptions } from './slurm.js';
export { slurmScript } from './slurm.js';
export { architectureOf, compilerOf, specText, variantsOf } from './spec-text.js';
export { toYaml } from './yaml-text.js';
