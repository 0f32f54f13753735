import type { Finding } from '../error.js';
import { SpackEnvError } from '../error.js';
import { parseSpec } from '../spec/parse.js';
import { nearest } from './nearest.js';
import type { ConfigNode, MapNode } from './node.js';
import { textPlace } from './node.js';

/** What a value may be. Written for this package after the schemas that Spack 1.2 documents its sections with. */
type Shape =
  | 'any'
  /** A text that must be a spec. */
  | 'spec'
  | 'string'
  | 'number'
  | 'integer'
  | 'boolean'
  | 'null'
  | { readonly words: readonly string[] }
  | { readonly items: Shape }
  | { readonly values: Shape }
  | {
      readonly keys: Readonly<Record<string, Shape>>;
      readonly rest?: Shape;
      readonly required?: readonly string[];
    }
  | { readonly either: readonly Shape[] };

const words = (...list: string[]): Shape => ({ words: list });
const list = (items: Shape): Shape => ({ items });
const mapOf = (values: Shape): Shape => ({ values });
const either = (...shapes: Shape[]): Shape => ({ either: shapes });
const keys = (known: Record<string, Shape>, ...required: string[]): Shape => ({ keys: known, required });
/** Keys that are not named here are free. */
const open = (known: Record<string, Shape>, rest: Shape = 'any'): Shape => ({ keys: known, rest });

const texts = list('string');
const specTexts = list('spec');
const text = either('string', 'number');
const oneOrMore = either('string', texts);

const matrix = keys({ matrix: list(list('any')), exclude: texts }, 'matrix');
const specItem = either('string', 'null', matrix);
const specItems = either(list(specItem), 'null');
const group = keys(
  {
    group: 'string',
    specs: specItems,
    matrix: list(list('any')),
    exclude: texts,
    needs: texts,
    override: open({}),
    explicit: 'boolean',
  },
  'group',
);

const include = either(
  'string',
  keys(
    {
      path: 'string',
      name: 'string',
      when: 'string',
      optional: 'boolean',
      sha256: 'string',
      prefer_modify: 'boolean',
      path_override_env_var: 'string',
    },
    'path',
  ),
  keys(
    {
      git: 'string',
      paths: texts,
      branch: 'string',
      commit: 'string',
      tag: 'string',
      name: 'string',
      when: 'string',
      optional: 'boolean',
      prefer_modify: 'boolean',
    },
    'git',
    'paths',
  ),
);

const accessPair = either(
  keys({ id: 'string', id_variable: 'string', secret_variable: 'string' }, 'secret_variable'),
  // Until Spack 0.22, and with the secret in the file.
  texts,
);
const connection = {
  url: 'string',
  // The index view to read (Spack 1.2).
  view: 'string',
  access_pair: accessPair,
  access_token: either('string', 'null'),
  access_token_variable: either('string', 'null'),
  profile: either('string', 'null'),
  endpoint_url: either('string', 'null'),
} as const;
const mirror = either(
  'string',
  keys({
    ...connection,
    fetch: either('string', keys({ ...connection })),
    push: either('string', keys({ ...connection })),
    source: 'boolean',
    binary: 'boolean',
    signed: 'boolean',
    autopush: 'boolean',
  }),
);

const requirement = either(
  'spec',
  keys({ one_of: specTexts, any_of: specTexts, spec: 'spec', message: 'string', when: 'spec' }),
);
const preference = either('spec', keys({ spec: 'spec', message: 'string', when: 'spec' }));
const packageKeys = {
  require: either('spec', list(requirement)),
  prefer: list(preference),
  conflict: list(preference),
  buildable: 'boolean',
  permissions: keys({
    read: words('user', 'group', 'world'),
    write: words('user', 'group', 'world'),
    group: 'string',
  }),
  package_attributes: open({}),
  variants: either('spec', specTexts),
} as const;
const settings = {
  set: mapOf(text),
  unset: texts,
  prepend_path: mapOf(text),
  append_path: mapOf(text),
  remove_path: mapOf(text),
};
const external = keys(
  {
    spec: 'spec',
    prefix: 'string',
    modules: texts,
    id: 'string',
    extra_attributes: open({}),
    dependencies: list(open({})),
  },
  'spec',
);

const scripts = list(either('string', texts, list(texts)));
const job = open({
  image: either('string', open({ name: 'string', entrypoint: texts })),
  tags: texts,
  variables: mapOf(either('string', 'number', 'boolean')),
  before_script: scripts,
  script: scripts,
  after_script: scripts,
});
const jobKinds = ['any', 'build', 'noop', 'copy', 'reindex', 'signing', 'cleanup'];
const jobs = Object.fromEntries(
  jobKinds.flatMap((kind) => [
    [`${kind}-job`, job],
    [`${kind}-job-remove`, job],
  ]),
);

const concretizer = keys({
  force: 'boolean',
  reuse: either(
    'boolean',
    words('dependencies'),
    open({ roots: 'boolean', include: texts, exclude: texts, from: list(open({})) }),
  ),
  enable_node_namespace: 'boolean',
  targets: open({ host_compatible: 'boolean', granularity: words('generic', 'microarchitectures') }),
  unify: either('boolean', words('when_possible')),
  compiler_mixing: either('boolean', list('any')),
  splice: keys({
    explicit: list(
      keys({ target: 'string', replacement: 'string', transitive: 'boolean' }, 'target', 'replacement'),
    ),
    automatic: 'boolean',
  }),
  duplicates: open({ strategy: words('none', 'minimal', 'full'), max_dupes: mapOf('integer') }),
  static_analysis: 'boolean',
  timeout: 'integer',
  error_on_timeout: 'boolean',
  os_compatible: mapOf(list('any')),
  concretization_cache: open({ enable: 'boolean', url: 'string', entry_limit: 'integer' }),
  externals: open({ completion: words('architecture_only', 'default_variants') }),
});

const config = keys({
  flags: open({ keep_werror: words('all', 'specific', 'none') }),
  shared_linking: either(
    words('rpath', 'runpath'),
    open({
      type: words('rpath', 'runpath'),
      bind: 'boolean',
      missing_library_policy: words('error', 'warn', 'ignore'),
    }),
  ),
  install_tree: either(
    'string',
    open({ root: 'string', padded_length: either('integer', 'boolean'), projections: mapOf('string') }),
  ),
  install_hash_length: 'integer',
  install_path_scheme: 'string',
  build_stage: oneOrMore,
  stage_name: 'string',
  develop_stage_link: 'string',
  test_stage: 'string',
  extensions: texts,
  template_dirs: texts,
  license_dir: 'string',
  source_cache: 'string',
  misc_cache: 'string',
  environments_root: 'string',
  connect_timeout: 'integer',
  verify_ssl: 'boolean',
  ssl_certs: 'string',
  suppress_gpg_warnings: 'boolean',
  debug: 'boolean',
  checksum: 'boolean',
  deprecated: 'boolean',
  locks: 'boolean',
  dirty: 'boolean',
  build_language: 'string',
  build_jobs: 'integer',
  concurrent_packages: 'integer',
  ccache: 'boolean',
  concretizer: words('clingo', 'original'),
  db_lock_timeout: 'integer',
  package_lock_timeout: either('integer', 'null'),
  allow_sgid: 'boolean',
  install_status: 'boolean',
  url_fetch_method: 'string',
  additional_external_search_paths: texts,
  binary_index_ttl: 'integer',
  binary_index_root: 'string',
  aliases: mapOf('string'),
  installer: words('old', 'new'),
  // What a build may reach on Linux (Spack 1.2).
  sandbox: open({ enable: 'boolean', allow_read: texts, allow_write: texts }),
  install_missing_compilers: 'boolean',
  terminal_title: 'string',
});

/** The sections of a configuration. */
export const sections: Readonly<Record<string, Shape>> = {
  include: list(include),
  config,
  packages: open(
    {
      all: keys({
        ...packageKeys,
        target: texts,
        compiler: texts,
        providers: mapOf(texts),
        version: list(text),
      }),
    },
    keys({
      ...packageKeys,
      version: list(text),
      externals: list(external),
      // Spack 0.x took these for single packages too, and now ignores them.
      target: texts,
      compiler: texts,
      providers: mapOf(texts),
    }),
  ),
  concretizer,
  definitions: list(open({ when: 'string' }, list(specItem))),
  mirrors: mapOf(mirror),
  ci: open({
    'pipeline-gen': list(
      either(
        keys({
          match_behavior: words('first', 'merge'),
          submapping: list(keys({ match: specTexts, 'build-job': job, 'build-job-remove': job }, 'match')),
          'dynamic-mapping': open({
            endpoint: 'string',
            timeout: 'integer',
            verify_ssl: 'boolean',
            header: 'any',
            allow: texts,
            require: texts,
            ignore: texts,
          }),
          ...jobs,
        }),
      ),
    ),
    'rebuild-index': 'boolean',
    'broken-specs-url': 'string',
    'broken-tests-packages': texts,
    target: 'string',
  }),
  cdash: keys({ 'build-group': 'string', url: 'string', project: 'string', site: 'string' }, 'build-group'),
  view: either(
    'boolean',
    'string',
    mapOf(
      either(
        'string',
        keys(
          {
            root: 'string',
            link: words('roots', 'all', 'run'),
            link_type: words('symlink', 'hardlink', 'copy', 'hard', 'soft', 'add', 'relocate'),
            select: specTexts,
            exclude: specTexts,
            projections: mapOf('string'),
          },
          'root',
        ),
      ),
    ),
  ),
  develop: mapOf(keys({ spec: 'spec', path: 'string' }, 'spec')),
  repos: either(
    texts,
    mapOf(
      either(
        'string',
        keys({
          git: 'string',
          branch: 'string',
          commit: 'string',
          tag: 'string',
          destination: 'string',
          paths: texts,
        }),
      ),
    ),
  ),
  toolchains: mapOf(either('string', list(open({ spec: 'string', when: 'string' })))),
  env_vars: keys(settings),
  modules: open({}),
  upstreams: mapOf(keys({ install_tree: 'string', modules: open({ tcl: 'string', lmod: 'string' }) })),
  bootstrap: open({
    enable: 'boolean',
    root: 'string',
    sources: list(keys({ name: 'string', metadata: 'string' }, 'name', 'metadata')),
    trusted: mapOf('boolean'),
  }),
  compilers: list(open({})),
  container: open({}),
};

const manifest: Shape = keys(
  {
    spack: keys({
      ...sections,
      specs: list(either('string', 'null', matrix, group)),
      include_concrete: texts,
    }),
  },
  'spack',
);

/** The files that a configuration is read from. */
export type FileKind = 'manifest' | 'scope' | { readonly section: string };

/** Everything in a file that its schema does not allow, each with its place. */
export function validate(root: ConfigNode, kind: FileKind): Finding[] {
  const shape =
    kind === 'manifest'
      ? manifest
      : kind === 'scope'
        ? keys(sections)
        : keys({ [kind.section]: sections[kind.section]! });
  const findings: Finding[] = [];
  check(root, shape, '', findings);
  return findings;
}

const isObject = (shape: Shape) => typeof shape === 'object';

const kindsFound = new WeakMap<object, readonly string[]>();

function kindsOf(shape: Shape): readonly string[] {
  if (typeof shape !== 'object') return [shape === 'spec' ? 'string' : shape];
  let kinds = kindsFound.get(shape);
  if (!kinds) {
    if ('words' in shape) kinds = ['string'];
    else if ('items' in shape) kinds = ['list'];
    else if ('either' in shape) kinds = [...new Set(shape.either.flatMap(kindsOf))];
    else kinds = ['map'];
    kindsFound.set(shape, kinds);
  }
  return kinds;
}

function kindOf(node: ConfigNode): string {
  if (node.kind !== 'scalar') return node.kind;
  if (node.value === null) return 'null';
  if (typeof node.value === 'number') return Number.isInteger(node.value) ? 'integer' : 'number';
  return typeof node.value;
}

const allows = (shape: Shape, kind: string): boolean => {
  const kinds = kindsOf(shape);
  return kinds.includes('any') || kinds.includes(kind) || (kind === 'integer' && kinds.includes('number'));
};

const phrase: Readonly<Record<string, string>> = {
  string: 'a text',
  number: 'a number',
  integer: 'a whole number',
  boolean: 'true or false',
  null: 'nothing',
  list: 'a list',
  map: 'a mapping of keys',
};

const phrases = (kinds: readonly string[]) => kinds.map((kind) => phrase[kind] ?? kind).join(' or ');

function check(node: ConfigNode, shape: Shape, path: string, findings: Finding[]): void {
  const kind = kindOf(node);
  if (!allows(shape, kind)) {
    const shown = node.kind === 'scalar' ? ` (${JSON.stringify(node.value)})` : '';
    findings.push({
      severity: 'error',
      code: 'wrong-type',
      message: `${path ? `"${path}"` : 'The file'} must be ${phrases(kindsOf(shape))}, not ${phrases([kind])}${shown}.`,
      position: node.at,
      hint: quoteHint(shape, kind),
      text: node.kind === 'scalar' ? String(node.value) : undefined,
    });
    return;
  }
  if (shape === 'spec' && node.kind === 'scalar') checkSpec(String(node.value), node, path, findings);
  if (!isObject(shape)) return;
  const s = shape as Exclude<Shape, string>;
  if ('either' in s) {
    checkEither(node, s.either, kind, path, findings);
  } else if ('words' in s) {
    if (node.kind === 'scalar' && !s.words.includes(String(node.value))) {
      const near = nearest(String(node.value), s.words);
      findings.push({
        severity: 'error',
        code: 'wrong-value',
        message: `"${path}" must be one of ${s.words.join(', ')}, not ${JSON.stringify(node.value)}.`,
        position: node.at,
        hint: near && `Did you mean "${near}"?`,
        text: String(node.value),
        nearest: near,
      });
    }
  } else if ('items' in s) {
    if (node.kind !== 'list') return;
    for (const [i, item] of node.items.entries()) check(item, s.items, `${path}[${i}]`, findings);
  } else if (node.kind === 'map') {
    checkKeys(node, s, path, findings);
  }
}

function checkSpec(text: string, node: ConfigNode, path: string, findings: Finding[]): void {
  try {
    parseSpec(text);
  } catch (error) {
    if (!(error instanceof SpackEnvError)) throw error;
    const start = textPlace(node);
    for (const finding of error.findings) {
      const column = start.column + ((finding.position?.column ?? 1) - 1);
      const message = `"${path}": ${finding.message}`;
      findings.push({ ...finding, message, position: { ...start, column } });
    }
  }
}

const quoteHint = (shape: Shape, kind: string): string | undefined =>
  ['integer', 'number', 'boolean'].includes(kind) && allows(shape, 'string')
    ? 'Put it in quotes.'
    : undefined;

/** Of several shapes that fit the kind, the findings of the one that fits best. */
function checkEither(
  node: ConfigNode,
  shapes: readonly Shape[],
  kind: string,
  path: string,
  findings: Finding[],
): void {
  let best: Finding[] | undefined;
  for (const shape of shapes) {
    if (!allows(shape, kind)) continue;
    const found: Finding[] = [];
    check(node, shape, path, found);
    if (found.length === 0) return;
    if (!best || found.length < best.length) best = found;
  }
  findings.push(...(best ?? []));
}

function keyHint(key: string, near: string | undefined, known: readonly string[]): string {
  if (near) return `Did you mean "${near}"?`;
  // Where a matrix may stand, a key is mostly a spec whose colon was taken for the end of one.
  if (known.includes('matrix')) return `A spec with a colon before a space stands in quotes: "${key}: ".`;
  return `Known are ${known.join(', ')}.`;
}

function checkKeys(
  node: MapNode,
  shape: Extract<Shape, { keys: unknown } | { values: unknown }>,
  path: string,
  findings: Finding[],
): void {
  const below = (key: string) => (path ? `${path}.${key}` : key);
  if ('values' in shape) {
    for (const [key, entry] of node.entries) check(entry.node, shape.values, below(key), findings);
    return;
  }
  for (const [key, entry] of node.entries) {
    const known = Object.hasOwn(shape.keys, key) ? shape.keys[key] : shape.rest;
    if (known !== undefined) {
      check(entry.node, known, below(key), findings);
      continue;
    }
    const near = nearest(key, Object.keys(shape.keys));
    findings.push({
      severity: 'error',
      code: 'unknown-key',
      message: `Unknown key "${key}"${path ? ` in "${path}"` : ''}.`,
      position: entry.at,
      hint: keyHint(key, near, Object.keys(shape.keys)),
      text: key,
      nearest: near,
    });
  }
  for (const key of shape.required ?? []) {
    if (node.entries.has(key)) continue;
    findings.push({
      severity: 'error',
      code: 'missing-key',
      message: `${path ? `"${path}"` : 'The file'} lacks the key "${key}".`,
      position: node.at,
    });
  }
}
