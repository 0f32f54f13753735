import {
  type Attributes,
  commands,
  isList,
  merge,
  toAttributes,
  toPlain,
  type Value,
} from '../ci/attributes.js';
import { type JobAttributes, reservedTags } from '../ci/job-attributes.js';
import { artifactPaths, type Settings } from '../ci/settings.js';
import { indexCommands, signingVariables } from '../engine/end-scripts.js';
import { noScript } from '../engine/job-script.js';
import {
  jobVariables,
  mirrorLayout,
  type PipelineInput,
  type Plain,
  pipelineVariables,
} from '../engine/pipeline-input.js';
import { setupOf } from '../engine/setup.js';
import { JobGraphError } from '../error.js';
import type { Job, JobGraph } from '../graph/graph.js';
import { levels } from '../graph/order.js';
import { type Joint, maximumNeeds, needsOf } from './needs.js';

/** A pipeline before it is written: GitLab's keywords apart from the jobs. */
export interface Pipeline {
  readonly stages: readonly string[];
  readonly variables: Plain | undefined;
  /** By name, the jobs that build; in an order in which they could run. */
  readonly builds: ReadonlyMap<string, BuildJob>;
  /** What all jobs have unless they say otherwise; GitLab's `default`. */
  readonly common?: Plain;
  /** By name, all other jobs: joints, signing, index, copy, no-op. */
  readonly services: ReadonlyMap<string, Plain>;
  readonly joints: readonly Joint[];
}

export interface BuildJob {
  readonly hash: string;
  readonly body: Plain;
}

const retryConditions = [
  'unknown_failure',
  'script_failure',
  'api_failure',
  'stuck_or_timeout_failure',
  'runner_system_failure',
  'runner_unsupported',
  'stale_schedule',
  'archived_failure',
  'unmet_prerequisites',
  'scheduler_failure',
  'data_integrity_failure',
];
const serviceRetry = {
  max: 2,
  when: ['runner_system_failure', 'stuck_or_timeout_failure', 'script_failure'],
};

/** GitLab refuses longer job names. */
const maximumName = 255;

/**
 * The pipeline that `spack ci generate` would write, as data, within GitLab's limit of needs.
 * @throws JobGraphError (`input`) for a job without script, or a copy-only pipeline without a source
 */
export function gitlabPipeline(input: PipelineInput): Pipeline {
  const { pruned, settings, attributes } = input;
  const copyOnly = settings.pipelineType === 'COPY_ONLY';
  const none: JobGraph = { jobs: new Map() };
  const graph = copyOnly ? none : pruned.graph;
  if (!copyOnly && graph.jobs.size === 0) return noop(attributes);

  const level = levels(graph);
  const parent = parentNeed(settings);
  const needs = needsOf(graph, maximumNeeds - parent.length);
  const name = namesOf(graph, input.cdash?.buildGroup);
  // One object for each needed job: what is one object is found to be the same at once when it is written.
  const known = new Map<string, Plain>();
  const need = (id: string): Plain => {
    let made = known.get(id);
    if (!made) known.set(id, (made = { job: name.get(id) ?? id, artifacts: false }));
    return made;
  };

  const builds = new Map<string, BuildJob>();
  const shared = sharedParts(settings);
  for (const job of graph.jobs.values()) {
    const body = buildJob(input, job, shared);
    builds.set(name.get(job.hash)!, {
      hash: job.hash,
      body: {
        ...body,
        needs: [...needs.of.get(job.hash)!.map(need), ...parent],
        stage: `stage-${level.get(job.hash)}`,
        interruptible: true,
      },
    });
  }

  const services = new Map<string, Plain>();
  const ends = endJobs(input, parent);
  const depth = Math.max(-1, ...level.values());
  const stages: string[] = [];
  for (let at = 0; at <= depth; at++) {
    stages.push(`stage-${at}`);
    if (needs.joints.some((joint) => joint.level === at)) stages.push(`stage-${at}-joint`);
  }
  for (const joint of needs.joints)
    services.set(joint.id, jointJob(attributes, joint, joint.members.map(need)));
  for (const [name, body] of ends) {
    stages.push(String(body.stage));
    services.set(name, body);
  }
  return { stages, variables: pipelineVariables(input), builds, services, joints: needs.joints };
}

/** The jobs that come after all builds: copying, signing, cleaning up, the index. */
function endJobs(input: PipelineInput, parent: readonly Plain[]): Map<string, Plain> {
  const { settings, ci } = input;
  const jobs = new Map<string, Plain>();
  if (settings.pipelineType === 'COPY_ONLY') jobs.set('copy', copyJob(input, parent));
  const sign = signJob(input);
  if (sign) jobs.set('sign-pkgs', sign);
  if (ci.temporaryStorage) jobs.set('cleanup', cleanupJob(input, ci.temporaryStorage));
  if (ci.rebuildIndex) jobs.set('rebuild-index', indexJob(input));
  return jobs;
}

/** All jobs, keywords and names of a pipeline in one mapping, sorted as Spack sorts it. */
export function assemblePipeline({ stages, variables, builds, services, common }: Pipeline): Plain {
  const parts: [string, unknown][] = [...builds].map(([name, job]) => [name, job.body]);
  parts.push(...services);
  if (common) parts.push(['default', common]);
  if (variables) parts.push(['stages', stages], ['variables', variables]);
  // Without rules of its own GitLab would not run a child pipeline of a merge request.
  parts.push(['workflow', { rules: [{ when: 'always' }] }]);
  return Object.fromEntries(parts.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)));
}

/** Names by hash; as long as GitLab allows, and never two alike. */
export function namesOf(graph: JobGraph, buildGroup: string | undefined): Map<string, string> {
  const names = new Map<string, string>();
  for (const { hash, node } of graph.jobs.values()) {
    const group = buildGroup ? ` ${buildGroup}` : '';
    const tail = ` /${hash}`;
    // The hash is what tells two jobs apart, so it is never what is cut off.
    const head = `${node.name}@${node.version}`.slice(0, maximumName - tail.length);
    names.set(hash, `${head}${tail}${group}`.slice(0, maximumName).trimEnd());
  }
  return names;
}

function parentNeed({ generateJob }: Settings): readonly Plain[] {
  return generateJob?.pipeline ? [{ job: generateJob.job, pipeline: generateJob.pipeline }] : [];
}

/** What is the same in all build jobs, made once so that it is one object, and so one anchor. */
function sharedParts(settings: Settings) {
  const paths = artifactPaths(settings);
  return {
    environment: paths.environment,
    artifacts: toAttributes({
      when: 'always',
      paths: [paths.logs, paths.reproduction, paths.tests, paths.userData],
    }),
    retry: toAttributes({ max: 2, when: retryConditions }),
    memo: new Memo(),
  };
}

function buildJob(input: PipelineInput, job: Job, shared: ReturnType<typeof sharedParts>): Plain {
  const { attributes, settings } = input;
  const own = attributes.build.get(job.hash)!;
  const { memo, environment } = shared;
  const body: Record<string, unknown> = {};
  for (const [key, { value }] of own) body[key] = toPlain(value);
  if (body.script === undefined) throw noScript(job);
  body.script = memo.of('script', own.get('script')?.value, (value) =>
    commands(value).map((line) => line.replaceAll('{env_dir}', environment)),
  );
  const before = [...setupLines(own, input), ...commands(own.get('before_script')?.value)];
  if (before.length > 0 || own.has('before_script')) {
    body.before_script = memo.list(before);
  }
  if (own.has('after_script'))
    body.after_script = memo.of('after_script', own.get('after_script')?.value, commands);
  if (settings.pipelineType) {
    const extra = { COPY_ONLY: [], PROTECTED_BRANCH: ['protected'], PULL_REQUEST: ['public'] };
    body.tags = memo.of('tags', own.get('tags')?.value ?? [], (value) => [
      ...strings(value).filter((tag) => !reservedTags.includes(tag)),
      ...extra[settings.pipelineType!],
    ]);
  }
  const variables = {
    ...(toPlain(own.get('variables')?.value ?? null) as Plain | null),
    ...jobVariables(input, job),
  };
  body.variables = variables;
  body.artifacts = memo.of('artifacts', own.get('artifacts')?.value ?? new Map(), (value) =>
    toPlain(merge(value, shared.artifacts)),
  );
  body.retry = memo.of('retry', own.get('retry')?.value ?? new Map(), (value) =>
    toPlain(merge(shared.retry, value)),
  );
  return body;
}

/** Remembers what was made of a value that many jobs share. */
class Memo {
  readonly #made = new Map<string, Map<Value | undefined, unknown>>();
  readonly #lists: Lists = { next: new Map() };

  of<T>(key: string, value: Value | undefined, make: (value: Value) => T): T {
    let made = this.#made.get(key);
    if (!made) this.#made.set(key, (made = new Map()));
    if (!made.has(value)) made.set(value, make(value ?? null));
    return made.get(value) as T;
  }

  /** The same list for the same lines. */
  list(lines: readonly string[]): readonly string[] {
    let at = this.#lists;
    for (const line of lines) {
      let next = at.next.get(line);
      if (!next) at.next.set(line, (next = { next: new Map() }));
      at = next;
    }
    return (at.list ??= lines);
  }
}

/** Lists by their lines, one after the other. */
interface Lists {
  readonly next: Map<string, Lists>;
  list?: readonly string[];
}

/** What brings the programs that a job calls. */
function setupLines(own: Attributes, { setup }: PipelineInput): readonly string[] {
  const { tools, stackwright, spack } = setupOf(own, setup);
  return [...tools, ...stackwright, ...spack];
}

/** A service job's `before_script`, after what brings the programs that the job calls; the rest as it is written. */
function beforeScript(own: Attributes, input: PipelineInput): unknown {
  const setup = setupLines(own, input);
  const before = own.get('before_script')?.value;
  if (setup.length === 0) return toPlain(before ?? null) ?? undefined;
  return [...setup, ...(isList(before) ? before.map(toPlain) : [])];
}

function strings(value: Value): string[] {
  return isList(value) ? value.map(String) : [];
}

const bodyOf = (attributes: Attributes): Record<string, unknown> => ({
  ...(toPlain(attributes) as Record<string, unknown>),
});

const atTheEnd = { when: 'always', interruptible: true, dependencies: [] as string[] };

function noop({ service }: JobAttributes): Pipeline {
  return {
    stages: [],
    variables: undefined,
    builds: new Map(),
    services: new Map([['no-specs-to-rebuild', { ...bodyOf(service.noop), retry: 0, allow_failure: true }]]),
    joints: [],
  };
}

function jointJob({ service }: JobAttributes, joint: Joint, needs: readonly Plain[]): Plain {
  const { script: _, before_script: __, after_script: ___, ...rest } = bodyOf(service.noop);
  return {
    ...rest,
    script: [`echo "Waited for ${joint.members.length} jobs."`],
    before_script: [],
    after_script: [],
    needs,
    dependencies: undefined,
    retry: serviceRetry,
    stage: `stage-${joint.level}-joint`,
    interruptible: true,
  };
}

function signJob(input: PipelineInput): Plain | undefined {
  const { attributes, settings } = input;
  const own = attributes.service.signing;
  if (settings.pipelineType !== 'PROTECTED_BRANCH' || !own.has('script')) return undefined;
  return {
    ...bodyOf(own),
    before_script: beforeScript(own, input),
    script: commands(own.get('script')!.value),
    variables: {
      ...(toPlain(own.get('variables')?.value ?? null) as Plain | null),
      ...signingVariables(input),
    },
    ...atTheEnd,
    stage: 'stage-sign-pkgs',
    retry: { max: 2, when: ['always'] },
  };
}

function indexJob(input: PipelineInput): Plain {
  const own = input.attributes.service.reindex;
  return {
    ...bodyOf(own),
    before_script: beforeScript(own, input),
    script: indexCommands(
      input,
      commands(own.get('script')!.value),
      artifactPaths(input.settings).environment,
    ),
    ...atTheEnd,
    stage: 'stage-rebuild-index',
    retry: serviceRetry,
  };
}

function cleanupJob(input: PipelineInput, prefix: string): Plain {
  const { service } = input.attributes;
  return {
    ...bodyOf(service.cleanup),
    before_script: beforeScript(service.cleanup, input),
    script: commands(service.cleanup.get('script')!.value).map((line) =>
      line.replaceAll('{mirror_prefix}', prefix),
    ),
    ...atTheEnd,
    stage: 'cleanup-temp-storage',
    retry: serviceRetry,
  };
}

function copyJob(input: PipelineInput, needs: readonly Plain[]): Plain {
  const { attributes, mirrors } = input;
  if (!mirrors.source) {
    throw new JobGraphError(
      'no-source-mirror',
      'A copy-only pipeline needs a mirror named "buildcache-source", and the stack has none.',
      { hint: 'Add it to "mirrors:", or unset SPACK_PIPELINE_TYPE.' },
    );
  }
  const own = attributes.service.copy;
  return {
    ...bodyOf(own),
    before_script: beforeScript(own, input),
    stage: 'copy',
    needs,
    variables: {
      ...(toPlain(own.get('variables')?.value ?? null) as Plain | null),
      SPACK_COPY_ONLY_DESTINATION: mirrors.destination.fetch,
      SPACK_BUILDCACHE_RELATIVE_KEYS_URL: mirrorLayout.keys,
      SPACK_BUILDCACHE_SOURCE: mirrors.source.fetch,
    },
    dependencies: [],
  };
}
