import type { ConcreteNode } from '@stackwright/spack-env';
import type { Job } from '../graph/graph.js';
import { architectureOf, compilerOf, variantsOf } from '../graph/node-text.js';
import type { Pruned } from '../prune/prune.js';
import {
  type Attributes,
  commands,
  isList,
  isMapping,
  type Mode,
  mergeAttributes,
  removeAttributes,
  toAttributes,
  type Value,
} from './attributes.js';
import type { CiSection, GenSection, JobKind } from './ci-section.js';

/** Tags that only Spack's own pipelines may set. */
export const reservedTags: readonly string[] = ['public', 'protected', 'notary'];

/** The jobs that a pipeline has once, beside one for each spec. */
export type ServiceKind = Exclude<JobKind, 'any' | 'build'>;

/** What the `ci` section says of every job. */
export interface JobAttributes {
  /** By hash. */
  readonly build: ReadonlyMap<string, Attributes>;
  readonly service: Readonly<Record<ServiceKind, Attributes>>;
  /** What was not done as written, for a person. */
  readonly notes: readonly string[];
}

export interface AttributeOptions {
  /** Whether a spec is what a submapping's `match` asks for. */
  readonly matches: (node: ConcreteNode, match: string) => boolean;
  /** What a dynamic mapping answered, by the section's place in `ci.sections` and the job's hash. */
  readonly dynamic?: ReadonlyMap<number, ReadonlyMap<string, Attributes>>;
  /** Names of variables that no job has of its own: the whole pipeline's value counts. */
  readonly fixed?: readonly string[];
}

const serviceKinds: readonly ServiceKind[] = ['copy', 'cleanup', 'noop', 'reindex', 'signing'];

/**
 * Applies `ci.pipeline-gen` as Spack does: from the bottom up, between its own defaults (first, so that everything
 * beats them) and its own rules (last, so that nothing does). Jobs for which the same entries count share the work
 * and, but for their variables, the result.
 */
export function jobAttributes(
  { graph, full }: Pruned,
  ci: CiSection,
  options: AttributeOptions,
): JobAttributes {
  const steps = stepsOf(ci, options.fixed);
  const build = new Map<string, Attributes>();
  const shared = new Map<string, Attributes>();
  const notes = new Set<string>();
  const find = (hash: string) => full.jobs.get(hash)?.node;
  for (const job of graph.jobs.values()) {
    const own = stepsFor(job, steps, options);
    let attributes = shared.get(own.key);
    if (!attributes) {
      const applied = own.changes.reduce((old, change) => apply(old, change), placeholders);
      attributes = environmentFirst(applied);
      if (attributes !== applied) notes.add(scriptNote);
      shared.set(own.key, attributes);
    }
    build.set(job.hash, filled(attributes, facts(job, find)));
  }
  const service = Object.fromEntries(
    serviceKinds.map((kind) => {
      const own = steps.flatMap(({ section }) =>
        section.type === 'job' && (section.kind === kind || section.kind === 'any') ? [section] : [],
      );
      const applied = own.reduce<Attributes>((old, change) => apply(old, change), new Map());
      return [kind, kind === 'reindex' ? withIndexScript(applied) : applied];
    }),
  ) as Record<ServiceKind, Attributes>;
  return { build, service, notes: [...notes] };
}

/** A section and its place in `ci.sections`; -1 for Spack's own. */
interface Step {
  readonly section: GenSection;
  readonly place: number;
}

/** What takes away from attributes, then adds to them. */
interface Change {
  readonly remove?: Attributes | undefined;
  readonly merge?: Attributes | undefined;
}

function stepsOf(ci: CiSection, fixed: readonly string[] = []): Step[] {
  const own = (sections: readonly GenSection[]) => sections.map((section) => ({ section, place: -1 }));
  const given = ci.sections.map((section, place) => ({ section, place }));
  const without = fixed.map((name) => section('any', undefined, { variables: { [`${name}:`]: null } }));
  return [...own([...without, ...rules]), ...given, ...own(defaults)].reverse();
}

/** The changes for one job in order, and a key that is the same for jobs with the same changes. */
function stepsFor(job: Job, steps: readonly Step[], { matches, dynamic }: AttributeOptions) {
  const changes: Change[] = [];
  let key = '';
  for (const { section, place } of steps) {
    if (section.type === 'job') {
      if (section.kind === 'any' || section.kind === 'build') changes.push(section);
    } else if (section.type === 'submapping') {
      for (let at = section.entries.length - 1; at >= 0; at--) {
        const entry = section.entries[at]!;
        if (!entry.match.some((text) => matches(job.node, text))) continue;
        changes.push(entry);
        key += `${place}.${at} `;
        if (section.behavior === 'first') break;
      }
    } else {
      const answer = dynamic?.get(place)?.get(job.hash);
      if (!answer) continue;
      changes.push({ merge: answer });
      key += `${place}/${job.hash} `;
    }
  }
  return { changes, key };
}

function apply(old: Attributes, { remove, merge }: Change): Attributes {
  const left = remove ? removeAttributes(old, remove) : old;
  return merge ? mergeAttributes(left, merge) : left;
}

const section = (kind: JobKind, merge: object | undefined, remove?: object): GenSection => ({
  type: 'job',
  kind,
  merge: merge && toAttributes(merge as Record<string, unknown>),
  remove: remove && toAttributes(remove as Record<string, unknown>),
});

/** Spack's own lines that put a job into the environment. */
const activation: readonly string[] = ['cd {env_dir}', 'spack env activate --without-view .'];

const scriptNote =
  'A build-job has "script:" without "::", which comes before the lines that activate the environment, and builds ' +
  'without activating it: those lines were moved to the front. Write "script::" to replace them.';

/**
 * A script that was given as `script: [spack ci rebuild]` stands before Spack's own lines and would run outside of the
 * environment, which cannot have been meant: those lines come first then. One that activates it itself is left alone.
 */
function environmentFirst(attributes: Attributes): Attributes {
  const script = attributes.get('script');
  const lines = script?.value;
  if (!script || !isList(lines)) return attributes;
  const start = lines.indexOf(activation[0]!);
  if (start <= 0 || lines[start + 1] !== activation[1]) return attributes;
  const before = commands(lines.slice(0, start));
  if (!before.some((line) => /\b(ci|stackwright) rebuild\b/.test(line))) return attributes;
  if (before.some((line) => /\benv activate\b/.test(line))) return attributes;
  const rest = lines.filter((_, at) => at !== start && at !== start + 1);
  return new Map(attributes).set('script', { mode: script.mode, value: [...activation, ...rest] });
}

const defaults: readonly GenSection[] = [
  section('build', { script: [...activation, 'spack ci rebuild'] }),
  section('noop', { script: ['echo "All specs already up to date, nothing to rebuild."'] }),
];

/** What the index job runs where its stack does not say. Spack installs only from a mirror that lists its keys. */
export const indexCommand = 'stackwright mirror index {index_target_mirror} --keys';

/**
 * A reindex job does what its stack says. Otherwise it is ours: Spack's `update-index` reads every package anew, and does
 * not fail when it could not read one. (Spack itself replaces every script of this job by its own.)
 */
function withIndexScript(attributes: Attributes): Attributes {
  if (attributes.has('script')) return attributes;
  const script: Value = [indexCommand];
  return new Map([['script', { mode: 'replace' as Mode, value: script }], ...attributes]);
}

const rules: readonly GenSection[] = [
  section('cleanup', { 'script:': ['spack -d mirror destroy {mirror_prefix}/$CI_PIPELINE_ID'] }),
  section('signing', { tags: ['aws', 'protected', 'notary'] }),
  section('any', undefined, { tags: reservedTags }),
];

/** What a job knows of its spec before any configuration. */
function facts(
  { node, hash }: Job,
  find: (hash: string) => ConcreteNode | undefined,
): Record<string, string> {
  const compiler = compilerOf(node, find);
  return {
    SPACK_JOB_SPEC_DAG_HASH: hash,
    SPACK_JOB_SPEC_PKG_NAME: node.name,
    SPACK_JOB_SPEC_PKG_VERSION: node.version,
    SPACK_JOB_SPEC_COMPILER_NAME: compiler?.name ?? 'none',
    SPACK_JOB_SPEC_COMPILER_VERSION: compiler?.version ?? 'none',
    SPACK_JOB_SPEC_ARCH: architectureOf(node),
    SPACK_JOB_SPEC_VARIANTS: variantsOf(node),
  };
}

/** A sign that no configuration holds: YAML has no such character. */
const sign = '\u0000';

/** The variables that every job has, each with a mark in place of its value. */
const placeholders = toAttributes({
  variables: Object.fromEntries(
    [
      'SPACK_JOB_SPEC_DAG_HASH',
      'SPACK_JOB_SPEC_PKG_NAME',
      'SPACK_JOB_SPEC_PKG_VERSION',
      'SPACK_JOB_SPEC_COMPILER_NAME',
      'SPACK_JOB_SPEC_COMPILER_VERSION',
      'SPACK_JOB_SPEC_ARCH',
      'SPACK_JOB_SPEC_VARIANTS',
    ].map((name) => [name, `${sign}${name}${sign}`]),
  ),
});

/** Puts a job's own facts in place of the marks. */
function filled(attributes: Attributes, own: Readonly<Record<string, string>>): Attributes {
  const variables = attributes.get('variables');
  if (!variables || !isMapping(variables.value)) return attributes;
  const result = new Map<string, { mode: Mode; value: Value }>();
  for (const [name, entry] of variables.value) {
    const { mode, value } = entry;
    if (typeof value !== 'string' || !value.includes(sign)) result.set(name, entry);
    // In pieces, every second of them a mark: with `+:` or `-:` the user may have put text around it.
    else
      result.set(name, {
        mode,
        value: value
          .split(sign)
          .map((part) => own[part] ?? part)
          .join(''),
      });
  }
  return new Map(attributes).set('variables', { mode: variables.mode, value: result });
}
