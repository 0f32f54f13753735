export { JobGraphError } from './error.js';
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
export type { ListedNode, Listing } from './listing.js';
export { listingOf, toDot, toMermaid, toText } from './listing.js';
export type { CriticalPath, Durations } from './order.js';
export { criticalPath, levels, levelsAmong, longestPathFirst, tails } from './order.js';
export type { JobState, PageOptions, Section, State } from './page.js';
export { duration, renderPage } from './page.js';
export type { Outcome, PlanEvent, PlanOptions, PlanResult } from './plan.js';
export { runPlan } from './plan.js';
export type { Decision, Location, Pruned, Pruner } from './prune.js';
export { affectedBy, broken, externals, keep, only, prune, skip, untouched, upToDate } from './prune.js';
export { transitiveReduction } from './reduction.js';
export { architectureOf, specText, variantsOf } from './spec-text.js';
