import { type Finding, nearest, type Position } from '@stackwright/spack-env';
import { JobGraphError } from '../error.js';
import { type Attributes, splitKey, toAttributes } from './attributes.js';

/** The kinds of job that `pipeline-gen` speaks of; `any` and `build` stand for many jobs, the others for one each. */
const jobKinds = ['any', 'build', 'copy', 'cleanup', 'noop', 'reindex', 'signing'] as const;
export type JobKind = (typeof jobKinds)[number];

export interface Submapping {
  readonly match: readonly string[];
  readonly remove: Attributes | undefined;
  readonly merge: Attributes | undefined;
}

export interface DynamicMapping {
  readonly name: string | undefined;
  readonly endpoint: string;
  /** Seconds to wait for an answer. */
  readonly timeout: number;
  readonly verifySsl: boolean;
  readonly header: Readonly<Record<string, string>>;
  readonly allow: readonly string[];
  readonly require: readonly string[];
  readonly ignore: readonly string[];
}

/** One entry of `ci.pipeline-gen`. */
export type GenSection =
  | {
      readonly type: 'job';
      readonly kind: JobKind;
      readonly remove: Attributes | undefined;
      readonly merge: Attributes | undefined;
    }
  | {
      readonly type: 'submapping';
      readonly behavior: 'first' | 'merge';
      readonly entries: readonly Submapping[];
    }
  | { readonly type: 'dynamic'; readonly mapping: DynamicMapping };

/** The `ci` section, checked. */
export interface CiSection {
  readonly sections: readonly GenSection[];
  readonly target: string;
  readonly rebuildIndex: boolean;
  readonly brokenSpecsUrl: string | undefined;
  readonly brokenTestsPackages: readonly string[];
  /** Where a pipeline may leave what only it needs; Spack 0.x removes it with a job at the end. */
  readonly temporaryStorage: string | undefined;
}

/** Steps from the section's top to a value: keys as written, without a colon that marks an override, and indices. */
export type Path = readonly (string | number)[];

/** Tells where a value of the merged section was written. */
export type Locate = (path: Path) => Position | undefined;

/** Everything that GitLab takes in a job, and so everything that can stand in a job's attributes. */
const jobKeywords = [
  'after_script',
  'allow_failure',
  'artifacts',
  'before_script',
  'cache',
  'coverage',
  'dast_configuration',
  'dependencies',
  'environment',
  'except',
  'extends',
  'hooks',
  'id_tokens',
  'identity',
  'image',
  'inherit',
  'inputs',
  'interruptible',
  'manual_confirmation',
  'needs',
  'only',
  'pages',
  'parallel',
  'publish',
  'release',
  'resource_group',
  'retry',
  'rules',
  'run',
  'script',
  'secrets',
  'services',
  'stage',
  'start_in',
  'tags',
  'timeout',
  'trigger',
  'variables',
  'when',
];

const topKeys = [
  // Of Spack 0.x; it has no meaning any more.
  'enable-artifacts-buildcache',
  'broken-specs-url',
  'broken-tests-packages',
  'pipeline-gen',
  'rebuild-index',
  'target',
  'temporary-storage-url-prefix',
];
const dynamicKeys = [
  'allow',
  'endpoint',
  'header',
  'ignore',
  'name',
  'require',
  'timeout',
  'verify_ssl',
] as const;

type Plain = Readonly<Record<string, unknown>>;

/**
 * Checks and reads a merged `ci` section.
 * @param locate finds a value's place in the files, for messages
 * @throws JobGraphError (`input`) with all findings: unknown keys with the nearest known one, wrong types, entries
 *   that are none or several of the known kinds
 */
export function parseCi(ci: unknown, locate: Locate = () => undefined): CiSection {
  const findings: Finding[] = [];
  const report = (code: string, message: string, path: Path, hint?: string) => {
    findings.push({ severity: 'error', code, message, position: locate(path), hint });
  };
  const at = (path: Path) => ['ci', ...path].join(':').replace(/:(\d+)/g, '[$1]');

  const unknownKeys = (value: Plain, path: Path, known: readonly string[]) => {
    for (const key of Object.keys(value)) {
      const { name } = splitKey(key);
      if (known.includes(name)) continue;
      const near = nearest(name, known);
      report(
        'unknown-key',
        `${at(path)} has an unknown key ${JSON.stringify(name)}.`,
        [...path, key],
        near ? `Did you mean ${JSON.stringify(near)}?` : `Known are: ${known.join(', ')}.`,
      );
    }
  };
  const wrong = (path: Path, wanted: string) => {
    report('wrong-type', `${at(path)} must be ${wanted}.`, path);
    return undefined;
  };
  const mapping = (value: unknown, path: Path): Plain | undefined =>
    isPlain(value) ? value : wrong(path, 'a mapping');
  const strings = (value: unknown, path: Path): readonly string[] => {
    if (value === undefined) return [];
    if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return value;
    wrong(path, 'a list of strings');
    return [];
  };
  const text = (value: unknown, path: Path): string | undefined =>
    value === undefined || typeof value === 'string' ? value : wrong(path, 'a string');
  const flag = (value: unknown, path: Path, otherwise: boolean): boolean =>
    typeof value === 'boolean'
      ? value
      : value === undefined
        ? otherwise
        : (wrong(path, 'true or false') ?? otherwise);

  const attributes = (value: unknown, path: Path, remove: boolean): Attributes | undefined => {
    if (value === undefined) return undefined;
    // A key without a value (`any-job:` and nothing) asks for nothing.
    if (value === null) return new Map();
    const plain = mapping(value, path);
    if (!plain) return undefined;
    unknownKeys(plain, path, jobKeywords);
    for (const [key, child] of Object.entries(plain)) {
      const { name } = splitKey(key);
      const here = [...path, key];
      if (child === null && remove) continue;
      if (name === 'tags') strings(child, here);
      if (name === 'variables') variables(child, here, remove);
      if (/^(before_|after_)?script$/.test(name)) script(child, here);
      if (name === 'image' && typeof child !== 'string' && !isPlain(child))
        wrong(here, 'a string or a mapping');
    }
    return toAttributes(plain);
  };
  const variables = (value: unknown, path: Path, remove: boolean) => {
    const plain = mapping(value, path);
    for (const [key, child] of Object.entries(plain ?? {})) {
      if (!isVariableName(splitKey(key).name)) {
        report(
          'bad-variable-name',
          `${at(path)} has ${JSON.stringify(key)}, which is no name of a variable.`,
          [...path, key],
          'Use letters, digits and underscores, and no digit first.',
        );
      }
      if (typeof child === 'string' || typeof child === 'number' || (remove && child === null)) continue;
      // GitLab's long form: { value, description, options, expand }.
      if (isPlain(child) && 'value' in child) continue;
      report(
        'wrong-type',
        `${at([...path, key])} must be a string or a number.`,
        [...path, key],
        typeof child === 'boolean' ? `Write "${child}" in quotes.` : undefined,
      );
    }
  };
  const script = (value: unknown, path: Path) => {
    const line = (item: unknown): boolean =>
      typeof item === 'string' || (Array.isArray(item) && item.every((inner) => typeof inner === 'string'));
    if (Array.isArray(value) && value.every(line)) return;
    const at = Array.isArray(value) ? value.findIndex((item) => !line(item)) : -1;
    report(
      'wrong-type',
      `${['ci', ...path].join(':')} must be a list of commands, or of lists of commands.`,
      at < 0 ? path : [...path, at],
      'A command with ": " in it must be quoted.',
    );
  };

  const submapping = (section: Plain, path: Path): GenSection => {
    unknownKeys(section, path, ['submapping', 'match_behavior']);
    const behavior = section.match_behavior ?? 'first';
    if (behavior !== 'first' && behavior !== 'merge') {
      wrong([...path, 'match_behavior'], '"first" or "merge"');
    }
    const key = Object.keys(section).find((name) => splitKey(name).name === 'submapping')!;
    const list = section[key];
    if (!Array.isArray(list)) wrong([...path, key], 'a list');
    const entries = (Array.isArray(list) ? list : []).flatMap((entry: unknown, index): Submapping[] => {
      const here = [...path, key, index];
      const plain = mapping(entry, here);
      if (!plain) return [];
      unknownKeys(plain, here, ['match', 'build-job', 'build-job-remove']);
      if (plain.match === undefined) report('missing-key', `${at(here)} lacks the key "match".`, here);
      return [
        {
          match: strings(plain.match, [...here, 'match']),
          remove: attributes(plain['build-job-remove'], [...here, 'build-job-remove'], true),
          merge: attributes(plain['build-job'], [...here, 'build-job'], false),
        },
      ];
    });
    return { type: 'submapping', behavior: behavior === 'merge' ? 'merge' : 'first', entries };
  };

  const dynamic = (section: Plain, path: Path): GenSection | undefined => {
    unknownKeys(section, path, ['dynamic-mapping']);
    const here = [...path, 'dynamic-mapping'];
    const plain = mapping(section['dynamic-mapping'], here);
    if (!plain) return undefined;
    unknownKeys(plain, here, dynamicKeys);
    const endpoint = text(plain.endpoint, [...here, 'endpoint']);
    if (plain.endpoint === undefined) report('missing-key', `${at(here)} lacks the key "endpoint".`, here);
    else if (endpoint && !/^https?:\/\//.test(endpoint)) {
      wrong([...here, 'endpoint'], 'an http or https address');
    }
    const header = plain.header === undefined ? {} : mapping(plain.header, [...here, 'header']);
    for (const [key, value] of Object.entries(header ?? {})) text(value, [...here, 'header', key]);
    const timeout = plain.timeout ?? 10;
    if (typeof timeout !== 'number' || timeout < 0) wrong([...here, 'timeout'], 'a number of seconds');
    const required = strings(plain.require, [...here, 'require']);
    const ignored = strings(plain.ignore, [...here, 'ignore']);
    const both = required.find((key) => ignored.includes(key));
    if (both) {
      report('contradiction', `${at(here)} requires and ignores ${JSON.stringify(both)}.`, [
        ...here,
        'ignore',
      ]);
    }
    return {
      type: 'dynamic',
      mapping: {
        name: text(plain.name, [...here, 'name']),
        endpoint: endpoint ?? '',
        timeout: typeof timeout === 'number' && timeout > 0 ? timeout : 10,
        verifySsl: flag(plain.verify_ssl, [...here, 'verify_ssl'], true),
        header: (header ?? {}) as Record<string, string>,
        allow: strings(plain.allow, [...here, 'allow']),
        require: required,
        ignore: ignored,
      },
    };
  };

  const job = (section: Plain, path: Path): GenSection | undefined => {
    const known = jobKinds.flatMap((kind) => [`${kind}-job`, `${kind}-job-remove`]);
    unknownKeys(section, path, [...known, 'submapping', 'dynamic-mapping']);
    const names = Object.keys(section).map((key) => splitKey(key).name);
    const kinds = jobKinds.filter(
      (kind) => names.includes(`${kind}-job`) || names.includes(`${kind}-job-remove`),
    );
    const [kind] = kinds;
    if (!kind) {
      if (names.length === 0) report('empty-entry', `${at(path)} is empty.`, path);
      return undefined;
    }
    if (kinds.length > 1) {
      const both = kinds.map((each) => `${each}-job`).join(' and ');
      report('several-kinds', `${at(path)} has ${both}.`, path, 'Make an entry of its own for each.');
    }
    const pick = (name: string) => {
      const key = Object.keys(section).find((each) => splitKey(each).name === name);
      return key === undefined
        ? undefined
        : attributes(section[key], [...path, key], name.endsWith('-remove'));
    };
    return { type: 'job', kind, remove: pick(`${kind}-job-remove`), merge: pick(`${kind}-job`) };
  };

  const read = (entry: unknown, index: number): GenSection[] => {
    const path = ['pipeline-gen', index];
    const section = mapping(entry, path);
    if (!section) return [];
    const names = Object.keys(section).map((key) => splitKey(key).name);
    const read = names.includes('submapping')
      ? submapping
      : names.includes('dynamic-mapping')
        ? dynamic
        : job;
    return [read(section, path) ?? []].flat();
  };

  const top = mapping(ci, []) ?? {};
  unknownKeys(top, [], topKeys);
  const gen = top['pipeline-gen'] ?? [];
  if (!Array.isArray(gen)) wrong(['pipeline-gen'], 'a list');
  const section: CiSection = {
    sections: (Array.isArray(gen) ? gen : []).flatMap(read),
    target: text(top.target, ['target']) ?? 'gitlab',
    rebuildIndex: flag(top['rebuild-index'], ['rebuild-index'], true),
    brokenSpecsUrl: text(top['broken-specs-url'], ['broken-specs-url']),
    brokenTestsPackages: strings(top['broken-tests-packages'], ['broken-tests-packages']),
    temporaryStorage: text(top['temporary-storage-url-prefix'], ['temporary-storage-url-prefix']),
  };
  if (findings.length > 0) throw JobGraphError.of('bad-ci', findings);
  return section;
}

/** Every engine writes names of variables into a shell or a workflow as they are. */
export function isVariableName(name: string): boolean {
  return /^[A-Za-z_][A-Za-z0-9_]*$/.test(name);
}

function isPlain(value: unknown): value is Plain {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
