import type { ConfigNode, Environment, Lock } from '@stackwright/spack-env';
import type { Attributes } from '../ci/attributes.js';
import { type CiSection, parseCi } from '../ci/ci-section.js';
import { jobAttributes } from '../ci/job-attributes.js';
import { buildStamp, type Settings } from '../ci/settings.js';
import { JobGraphError } from '../error.js';
import type { Job } from '../graph/graph.js';
import { matcherOf } from '../graph/matcher.js';
import type { Pruned } from '../prune/prune.js';
import type { PipelineInput, PipelineMirrors } from './pipeline-input.js';
import type { JobSetup } from './setup.js';

/** What a pipeline depends on beside the stack. */
export interface StackPipelineOptions {
  /** The jobs to write, and what was decided of the others. */
  readonly pruned: Pruned;
  readonly settings: Settings;
  readonly mirrors: PipelineMirrors;
  readonly env: NodeJS.ProcessEnv;
  /** The time in the CDash stamp where the environment has none, for example the lock's. */
  readonly time: Date;
  /** The stack's `ci` section, where it was read before. */
  readonly ci?: CiSection;
  /** What dynamic mappings answered; see `askDynamicMappings`. */
  readonly dynamic?: ReadonlyMap<number, ReadonlyMap<string, Attributes>>;
  /** Whether no mirror has the package. Every job needs a build where this is left out. */
  readonly needsRebuild?: (job: Job) => boolean;
  /** What jobs bring by themselves; nothing when left out. */
  readonly setup?: JobSetup;
  /** Names of variables that the whole pipeline gets and that the `ci` section must not give other values. */
  readonly fixed?: readonly string[];
}

/**
 * The pipeline of a stack, ready for an engine: its `ci` section applied to every job, and its CDash.
 * @throws JobGraphError (`no-ci`, `bad-ci`), SpackEnvError for a `match` that is no spec
 */
export function stackPipeline(
  environment: Environment,
  lock: Lock,
  options: StackPipelineOptions,
): PipelineInput {
  const { pruned, settings, mirrors, env, time, dynamic, needsRebuild = () => true, setup, fixed } = options;
  const ci = options.ci ?? stackCi(environment);
  const buildGroup = buildGroupOf(environment);
  return {
    pruned,
    ci,
    attributes: jobAttributes(pruned, ci, { matches: matcherOf(lock), dynamic, fixed }),
    settings,
    mirrors,
    cdash: buildGroup ? { buildGroup, buildStamp: buildStamp(env, buildGroup, time) } : undefined,
    needsRebuild,
    spack: lock.spack,
    setup,
  };
}

/**
 * Reads the `ci` section of a stack.
 * @throws JobGraphError (`no-ci`) when it has none; (`bad-ci`) with all that is wrong in it
 */
export function stackCi({ config, nodes, file }: Environment): CiSection {
  const section = config['ci'];
  if (section === undefined || section === null) {
    throw new JobGraphError('no-ci', `${file} has no "ci:" section, which says what the jobs do.`, {
      hint: 'The smallest section is  ci: {pipeline-gen: [{build-job: {tags: […]}}]}',
    });
  }
  return parseCi(section, (path) => positionOf(nodes.get('ci'), path));
}

function buildGroupOf({ config }: Environment): string | undefined {
  const cdash = config['cdash'];
  const group =
    typeof cdash === 'object' && cdash !== null && 'build-group' in cdash ? cdash['build-group'] : undefined;
  return typeof group === 'string' && group !== '' ? group : undefined;
}

/** Where a value of the merged configuration was written; the nearest above it that is known. */
function positionOf(top: ConfigNode | undefined, path: readonly (string | number)[]) {
  let node = top;
  let at = top?.at;
  for (const step of path) {
    if (node?.kind === 'map') {
      const name = String(step);
      const entry = node.entries.get(name) ?? node.entries.get(name.replace(/[:+-]$/, ''));
      if (!entry) break;
      at = entry.at;
      node = entry.node;
    } else if (node?.kind === 'list') {
      node = node.items[Number(step)];
      at = node?.at ?? at;
    } else break;
  }
  return at;
}
