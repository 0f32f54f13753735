import { isAbsolute, relative } from 'node:path/posix';
import { fileURLToPath } from 'node:url';
import { artifactPaths } from '../ci/settings.js';
import { endScripts } from '../engine/end-scripts.js';
import { type JobScript, jobScript } from '../engine/job-script.js';
import type { PipelineInput, Plain } from '../gitlab/pipeline.js';
import { jobVariables, pipelineVariables } from '../gitlab/pipeline.js';
import { toYaml } from '../gitlab/yaml-text.js';
import type { Job } from '../graph/graph.js';

export interface GithubOptions {
  /** The workflow's name, and what its concurrency group is called after. */
  readonly name: string;
  /** The folder with `spack.yaml` and `spack.lock`, relative to the repository. */
  readonly stack: string;
  /** Labels of the runners; GitHub's own Ubuntu when left out and no tag names a hosted runner. */
  readonly runsOn?: readonly string[];
}

/** Actions by commit, as a tag could be moved to other code; the tag is what a reader knows. */
const actions = {
  checkout: ['actions/checkout@11bd71901bbe5b1630ceea73d27597364c9af683', 'v4.2.2'],
  upload: ['actions/upload-artifact@ea165f8d65b6e75b540449e92b4886f43607fa02', 'v4.6.2'],
  download: ['actions/download-artifact@d3f86a106a0bac45b974a628896c90dbdf5c8093', 'v4.3.0'],
} as const;

/** Handed to the step that builds, and to no other. */
const secrets = [
  'SPACK_SIGNING_KEY',
  'SPACK_SIGNING_KEY_PASSPHRASE',
  'AWS_ACCESS_KEY_ID',
  'AWS_SECRET_ACCESS_KEY',
  'SPACK_CDASH_AUTH_TOKEN',
];

/** How GitHub's expressions begin. */
const open = `$${'{{'}`;

function expression(text: string): string {
  return `${open} ${text} }}`;
}

const hosted = /^(ubuntu|windows|macos)-[\w.-]+$/;

/**
 * A GitHub Actions workflow: a job a package, with `needs`; other workflows can call it. Binaries go from job to job
 * over the destination mirror, or, when that is a folder of the repository, as artifacts.
 * @throws JobGraphError (`input`) for a job without script
 */
export function githubWorkflow(input: PipelineInput, options: GithubOptions): string {
  const { pruned, settings, attributes } = input;
  const { graph } = pruned;
  const ids = new Map([...graph.jobs.values()].map((job) => [job.hash, idOf(job)]));
  const environment = options.stack || '.';
  const paths = artifactPaths(settings);
  const mirror = sharedFolder(input);
  const jobs: Record<string, unknown> = {};
  for (const job of graph.jobs.values()) {
    const script = jobScript(attributes.build.get(job.hash)!, environment, job);
    const needs = job.dependencies.map((hash) => ids.get(hash)!);
    const env = environmentOf({ ...script.variables, ...jobVariables(input, job) });
    const id = ids.get(job.hash)!;
    jobs[id] = {
      name: `${job.spec.name}@${job.spec.version} /${job.hash.slice(0, 7)}`,
      ...(needs.length > 0 && { needs }),
      ...placeOf(script, options),
      'timeout-minutes': Math.ceil((script.timeout ?? 6 * 3600) / 60),
      ...permissions(input),
      env,
      steps: [
        checkout(),
        ...(mirror && needs.length > 0 ? [fetchBinaries(mirror)] : []),
        ...(mirror ? [{ name: 'Remember what is new', run: 'touch .stackwright-start' }] : []),
        {
          name: 'Build',
          shell: 'bash',
          env: Object.fromEntries(secrets.map((name) => [name, expression(`secrets.${name}`)])),
          run: [...script.before, ...script.script].join('\n'),
        },
        ...(script.after.length > 0
          ? [{ name: 'After', if: 'always()', shell: 'bash', run: script.after.join('\n') }]
          : []),
        ...(mirror ? keepBinaries(mirror, id) : []),
        {
          name: 'Keep logs',
          if: 'always()',
          uses: actions.upload[0],
          with: {
            name: `logs-${id}`,
            path: [paths.logs, paths.reproduction, paths.tests, paths.userData].join('\n'),
            'if-no-files-found': 'ignore',
          },
        },
      ],
    };
  }
  const all = [...ids.values()];
  for (const [name, own] of endScripts(input, environment)) {
    jobs[name] = {
      name,
      ...(all.length > 0 && { needs: all }),
      // Failed builds do not keep the others' binaries out of the index.
      if: expression('!cancelled()'),
      ...placeOf(own, options),
      'timeout-minutes': 120,
      ...permissions(input),
      ...(Object.keys(own.variables).length > 0 && { env: environmentOf(own.variables) }),
      steps: [
        checkout(),
        ...(mirror && all.length > 0 ? [fetchBinaries(mirror)] : []),
        {
          name: 'Run',
          shell: 'bash',
          env: Object.fromEntries(secrets.map((secret) => [secret, expression(`secrets.${secret}`)])),
          run: [...own.before, ...own.script].join('\n'),
        },
        ...(mirror ? [keepMirror(mirror)] : []),
      ],
    };
  }
  const workflow = {
    name: options.name,
    on: {
      workflow_call: {
        secrets: Object.fromEntries(secrets.map((name) => [name, { required: false }])),
      },
      workflow_dispatch: null,
    },
    permissions: { contents: 'read' },
    concurrency: { group: `${options.name}-${expression('github.ref')}`, 'cancel-in-progress': false },
    env: environmentOf({
      ...pipelineVariables(input),
      SPACK_CONCRETE_ENV_DIR: environment,
    }),
    jobs,
  };
  return withTags(toYaml(workflow, { anchors: false }));
}

/** A job's identifier: GitHub takes letters, digits, dashes and underscores, and a letter or underscore first. */
function idOf({ spec, hash }: Job): string {
  const name = spec.name.replace(/[^\w-]/g, '-');
  return `${/^[a-z_]/i.test(name) ? '' : '_'}${name.slice(0, 80)}-${hash.slice(0, 12)}`;
}

function placeOf({ image, tags }: JobScript, { runsOn }: GithubOptions): Plain {
  const own = tags.find((tag) => hosted.test(tag));
  const labels = runsOn && runsOn.length > 0 ? runsOn : [own ?? 'ubuntu-24.04'];
  return { 'runs-on': labels.length === 1 ? labels[0] : labels, ...(image && { container: { image } }) };
}

/** Only a mirror in GitHub's own registry needs more than to read the repository. */
function permissions({ mirrors }: PipelineInput): Plain {
  const registry = /^oci(\+https?)?:\/\/ghcr\.io\//.test(mirrors.destination.push);
  return registry ? { permissions: { contents: 'read', packages: 'write' } } : {};
}

/** Text that GitHub does not take for an expression. */
function environmentOf(variables: Readonly<Record<string, unknown>>): Plain {
  return Object.fromEntries(
    Object.entries(variables).map(([name, value]) => [
      name,
      String(value).replaceAll(open, expression(`'${open}'`)),
    ]),
  );
}

function checkout(): Plain {
  return { uses: actions.checkout[0], with: { 'persist-credentials': false } };
}

/** The destination mirror's folder where it lies in the repository, which jobs do not share by themselves. */
function sharedFolder({ mirrors, settings }: PipelineInput): string | undefined {
  const { push } = mirrors.destination;
  if (!push.startsWith('file://')) return undefined;
  const inside = relative(settings.projectFolder, fileURLToPath(push));
  return inside.startsWith('..') || isAbsolute(inside) ? undefined : inside;
}

function fetchBinaries(mirror: string): Plain {
  return {
    name: 'Fetch binaries of earlier jobs',
    uses: actions.download[0],
    with: { pattern: 'binary-*', path: mirror, 'merge-multiple': true },
  };
}

function keepBinaries(mirror: string, id: string): Plain[] {
  return [
    {
      name: 'Collect new binaries',
      shell: 'bash',
      run: [
        'mkdir -p .stackwright-new',
        `cd ${quote(mirror)}`,
        'find . -type f -newer "$GITHUB_WORKSPACE/.stackwright-start" -exec cp --parents -t "$GITHUB_WORKSPACE/.stackwright-new" {} +',
      ].join('\n'),
    },
    {
      name: 'Keep binaries',
      uses: actions.upload[0],
      with: { name: `binary-${id}`, path: '.stackwright-new/', 'include-hidden-files': true },
    },
  ];
}

function keepMirror(mirror: string): Plain {
  return {
    name: 'Keep the mirror',
    uses: actions.upload[0],
    with: { name: 'mirror', path: mirror, overwrite: true },
  };
}

function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** Writes the tag behind each pinned action. */
function withTags(text: string): string {
  let result = text;
  for (const [action, tag] of Object.values(actions)) {
    result = result.replace(
      new RegExp(`(uses: )"?${action.replace('/', '\\/')}"?$`, 'gm'),
      `$1${action} # ${tag}`,
    );
  }
  return result;
}
