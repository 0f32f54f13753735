import type { ConcreteNode } from '@stackwright/spack-env';
import { type Attributes, mergeAttributes, removeAttributes, toAttributes } from './attributes.js';
import type { CiSection, GenSection, JobKind, Submapping } from './ci-section.js';
import type { Job } from './graph.js';
import type { Pruned } from './prune.js';
import { architectureOf, compilerOf, variantsOf } from './spec-text.js';

/** Tags that only Spack's own pipelines may set. */
export const reservedTags: readonly string[] = ['public', 'protected', 'notary'];

/** The jobs that a pipeline has once, beside one for each spec. */
export type ServiceKind = Exclude<JobKind, 'any' | 'build'>;

/** What the `ci` section says of every job. */
export interface JobAttributes {
  /** By hash. */
  readonly build: ReadonlyMap<string, Attributes>;
  readonly service: Readonly<Record<ServiceKind, Attributes>>;
}

export interface AttributeOptions {
  /** Whether a spec is what a submapping's `match` asks for. */
  readonly matches: (node: ConcreteNode, match: string) => boolean;
  /** What a dynamic mapping answered, by the section's place in `ci.sections` and the job's hash. */
  readonly dynamic?: ReadonlyMap<number, ReadonlyMap<string, Attributes>>;
}

const serviceKinds: readonly ServiceKind[] = ['copy', 'cleanup', 'noop', 'reindex', 'signing'];

/**
 * Applies `ci.pipeline-gen` as Spack does: from the bottom up, between its own defaults (first, so that everything
 * beats them) and its own rules (last, so that nothing does).
 */
export function jobAttributes(
  { graph, full }: Pruned,
  ci: CiSection,
  options: AttributeOptions,
): JobAttributes {
  const find = (hash: string) => full.jobs.get(hash)?.spec;
  const build = new Map<string, Attributes>();
  for (const job of graph.jobs.values()) build.set(job.hash, initial(job, find));
  const service = Object.fromEntries(serviceKinds.map((kind) => [kind, new Map() as Attributes])) as Record<
    ServiceKind,
    Attributes
  >;

  const apply = (section: GenSection, place: number) => {
    if (section.type === 'job') {
      const change = (old: Attributes) => {
        const left = section.remove ? removeAttributes(old, section.remove) : old;
        return section.merge ? mergeAttributes(left, section.merge) : left;
      };
      if (section.kind === 'any' || section.kind === 'build') {
        for (const [hash, old] of build) build.set(hash, change(old));
      }
      if (section.kind === 'any') for (const kind of serviceKinds) service[kind] = change(service[kind]);
      else if (section.kind !== 'build') service[section.kind] = change(service[section.kind]);
    } else if (section.type === 'submapping') {
      for (const [hash, old] of build) {
        build.set(hash, submap(old, graph.jobs.get(hash)!.spec, section, options.matches));
      }
    } else {
      for (const [hash, answer] of options.dynamic?.get(place) ?? []) {
        const old = build.get(hash);
        if (old) build.set(hash, mergeAttributes(old, answer));
      }
    }
  };

  for (const section of [...defaults].reverse()) apply(section, -1);
  for (let place = ci.sections.length - 1; place >= 0; place--) apply(ci.sections[place]!, place);
  for (const section of [...rules].reverse()) apply(section, -1);
  return { build, service };
}

function submap(
  old: Attributes,
  node: ConcreteNode,
  section: Extract<GenSection, { type: 'submapping' }>,
  matches: AttributeOptions['matches'],
): Attributes {
  let result = old;
  for (const entry of [...section.entries].reverse() as Submapping[]) {
    if (!entry.match.some((match) => matches(node, match))) continue;
    if (entry.remove) result = removeAttributes(result, entry.remove);
    if (entry.merge) result = mergeAttributes(result, entry.merge);
    if (section.behavior === 'first') break;
  }
  return result;
}

const section = (kind: JobKind, merge: object | undefined, remove?: object): GenSection => ({
  type: 'job',
  kind,
  merge: merge && toAttributes(merge as Record<string, unknown>),
  remove: remove && toAttributes(remove as Record<string, unknown>),
});

const defaults: readonly GenSection[] = [
  section('build', {
    script: ['cd {env_dir}', 'spack env activate --without-view .', 'spack ci rebuild'],
  }),
  section('noop', { script: ['echo "All specs already up to date, nothing to rebuild."'] }),
];

const rules: readonly GenSection[] = [
  section('reindex', { 'script:': ['spack buildcache update-index --keys {index_target_mirror}'] }),
  section('cleanup', { 'script:': ['spack -d mirror destroy {mirror_prefix}/$CI_PIPELINE_ID'] }),
  section('signing', { tags: ['aws', 'protected', 'notary'] }),
  section('any', undefined, { tags: reservedTags }),
];

/** What a job knows of its spec before any configuration. */
function initial({ spec, hash }: Job, find: (hash: string) => ConcreteNode | undefined): Attributes {
  const compiler = compilerOf(spec, find);
  return toAttributes({
    variables: {
      SPACK_JOB_SPEC_DAG_HASH: hash,
      SPACK_JOB_SPEC_PKG_NAME: spec.name,
      SPACK_JOB_SPEC_PKG_VERSION: spec.version,
      SPACK_JOB_SPEC_COMPILER_NAME: compiler?.name ?? 'none',
      SPACK_JOB_SPEC_COMPILER_VERSION: compiler?.version ?? 'none',
      SPACK_JOB_SPEC_ARCH: architectureOf(spec),
      SPACK_JOB_SPEC_VARIANTS: variantsOf(spec),
    },
  });
}
