import { isAbsolute, relative } from 'node:path/posix';
import { fileURLToPath } from 'node:url';
import { isVariableName } from '../ci/ci-section.js';
import { artifactPaths } from '../ci/settings.js';
import { endScripts, signingVariables } from '../engine/end-scripts.js';
import { type JobScript, jobScript } from '../engine/job-script.js';
import { jobVariables, type PipelineInput, type Plain, pipelineVariables } from '../engine/pipeline-input.js';
import { setupTexts } from '../engine/setup.js';
import { shellWord } from '../engine/shell.js';
import { waveNumber } from '../engine/waves.js';
import { toYaml } from '../engine/yaml-text.js';
import { badName } from '../error.js';
import type { Job, JobGraph } from '../graph/graph.js';
import { githubActions } from './actions.js';
import { machineOf } from './place.js';

export interface GithubOptions {
  /** The workflow's name, and what its concurrency group is called after. */
  readonly name: string;
  /** The folder with `spack.yaml` and `spack.lock`, relative to the repository. */
  readonly stack: string;
}

const signingSecrets = ['SPACK_SIGNING_KEY', 'SPACK_SIGNING_KEY_PASSPHRASE'];
const otherSecrets = ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'SPACK_CDASH_AUTH_TOKEN'];

/**
 * What is handed to the step that does a job's work, and to no other. Pull requests have no secret; where a job of its own
 * signs, no other has the key.
 */
function secretsOf(input: PipelineInput, job: 'sign' | 'other'): readonly string[] {
  if (input.settings.pipelineType === 'PULL_REQUEST') return [];
  return job === 'sign' || !hasSigningJob(input) ? [...signingSecrets, ...otherSecrets] : otherSecrets;
}

/** As in Spack: a `signing-job` counts in pipelines of protected branches. */
function hasSigningJob({ settings, attributes, pruned }: PipelineInput): boolean {
  const given = settings.pipelineType === 'PROTECTED_BRANCH' && attributes.service.signing.has('script');
  return given && pruned.graph.jobs.size > 0;
}

/** How GitHub's expressions begin. */
const open = `$${'{{'}`;

function expression(text: string): string {
  return `${open} ${text} }}`;
}

/**
 * A GitHub Actions workflow: a job a package, with `needs`; other workflows can call it. Binaries go from job to job
 * over the destination mirror, or, when that is a folder of the repository, as artifacts.
 * @throws JobGraphError (`no-script`, `bad-timeout`)
 */
export function githubWorkflow(input: PipelineInput, options: GithubOptions): string {
  const builds = buildJobs(input, options, input.pruned.graph);
  return write({
    ...head(input, options),
    concurrency: concurrencyOf(options),
    jobs: { ...builds, ...endJobs(input, options, Object.keys(builds)) },
  });
}

/** A part of a workflow that is too large: some of its jobs, for {@link callingWorkflow} to call. */
export function waveWorkflow(input: PipelineInput, options: GithubOptions, wave: JobGraph): string {
  return write({ ...head(input, options), jobs: buildJobs(input, options, wave) });
}

/**
 * The workflow that calls its parts one after another. A part starts though one before had a failure: its jobs whose
 * dependencies are missing fail at once, all others are not held up.
 * @param parts the paths of the parts, relative to the repository
 */
export function callingWorkflow(
  input: PipelineInput,
  options: GithubOptions,
  parts: readonly string[],
): string {
  const names = parts.map((_, at) => `wave-${waveNumber(at, parts.length)}`);
  const calls = names.map((name, at): [string, Plain] => [
    name,
    {
      needs: at > 0 ? [names[at - 1]] : undefined,
      if: at > 0 ? expression('!cancelled()') : undefined,
      uses: `./${parts[at]}`,
      permissions: permissions(input),
      secrets: secretValues(secretsOf(input, 'other')),
    },
  ]);
  return write({
    ...head(input, options),
    concurrency: concurrencyOf(options),
    jobs: { ...Object.fromEntries(calls), ...endJobs(input, options, names) },
  });
}

function head(input: PipelineInput, options: GithubOptions): Plain {
  const secrets = secretsOf(input, 'sign');
  const optional = Object.fromEntries(secrets.map((name) => [name, { required: false }]));
  return {
    name: options.name,
    on: {
      workflow_call: secrets.length > 0 ? { secrets: optional } : null,
      workflow_dispatch: null,
    },
    permissions: { contents: 'read' },
    env: environmentOf({
      ...pipelineVariables(input),
      SPACK_CONCRETE_ENV_DIR: options.stack || '.',
      ...Object.fromEntries(setupTexts(input).map((text, at) => [setupVariable(at), text])),
    }),
  };
}

function concurrencyOf({ name }: GithubOptions): Plain {
  return { group: `${literal(name)}-${expression('github.ref')}`, 'cancel-in-progress': false };
}

function write(workflow: Plain): string {
  return withTags(toYaml(workflow, { anchors: false }));
}

/** The jobs of `wave`, which is the whole graph or a part of it, by their identifiers. */
function buildJobs(input: PipelineInput, options: GithubOptions, wave: JobGraph): Record<string, Plain> {
  const jobs: Record<string, Plain> = {};
  for (const job of wave.jobs.values()) jobs[idOf(job)] = buildJob(input, options, job, wave);
  return jobs;
}

function buildJob(input: PipelineInput, options: GithubOptions, job: Job, wave: JobGraph): Plain {
  const script = jobScript(input.attributes.build.get(job.hash), {
    environment: options.stack || '.',
    setup: input.setup,
    job,
  });
  const paths = artifactPaths(input.settings);
  const mirror = sharedFolder(input);
  const needs = job.dependencies.flatMap((hash) => {
    const other = wave.jobs.get(hash);
    return other ? [idOf(other)] : [];
  });
  // In a part of a workflow, what a job depends on may have been built by an earlier part.
  const whole = input.pruned.graph.jobs.get(job.hash) ?? job;
  const id = idOf(job);
  return {
    name: literal(`${job.node.name}@${job.node.version} /${job.hash.slice(0, 7)}`),
    needs: needs.length > 0 ? needs : undefined,
    ...placeOf(script, job.node),
    'timeout-minutes': Math.ceil((script.timeout ?? 6 * 3600) / 60),
    permissions: permissions(input),
    env: environmentOf({ ...script.variables, ...jobVariables(input, job) }),
    steps: [
      checkout(),
      ...setUp(input, script),
      ...(mirror && whole.dependencies.length > 0 ? [fetchBinaries(mirror)] : []),
      ...(mirror ? [{ name: 'Remember what is new', run: 'touch .stackwright-start' }] : []),
      {
        name: 'Build',
        shell: 'bash',
        env: secretValues(secretsOf(input, 'other')),
        run: literal([...sourced(input, script.setup.spack), ...script.before, ...script.script].join('\n')),
      },
      ...(script.after.length > 0
        ? [{ name: 'After', if: 'always()', shell: 'bash', run: literal(script.after.join('\n')) }]
        : []),
      ...(mirror ? keepBinaries(mirror, id) : []),
      {
        name: 'Keep logs',
        if: 'always()',
        uses: githubActions.upload.pinned,
        with: {
          name: `logs-${id}`,
          path: [paths.logs, paths.reproduction, paths.tests, paths.userData].join('\n'),
          'if-no-files-found': 'ignore',
        },
      },
    ],
  };
}

/** The jobs after all builds. @param builds the identifiers of the jobs to wait for */
function endJobs(
  input: PipelineInput,
  options: GithubOptions,
  builds: readonly string[],
): Record<string, Plain> {
  const mirror = sharedFolder(input);
  const jobs: Record<string, Plain> = {};
  const environment = options.stack || '.';
  const ends = endScripts(input, environment);
  const sign = hasSigningJob(input) ? 'sign-pkgs' : undefined;
  const scripts = sign
    ? [
        [sign, jobScript(input.attributes.service.signing, { environment, setup: input.setup })] as const,
        ...ends,
      ]
    : [...ends];
  for (const [name, own] of scripts) {
    // The index comes after the signatures that it lists.
    const before = sign && name !== sign ? [...builds, sign] : builds;
    const variables = name === sign ? { ...own.variables, ...signingVariables(input) } : own.variables;
    jobs[name] = {
      name,
      // Its key is that of an environment: GitHub lets only the branches use it that the environment allows.
      environment: name === sign ? 'release' : undefined,
      needs: before.length > 0 ? before : undefined,
      // Failed builds do not keep the others' binaries out of the index.
      if: expression('!cancelled()'),
      ...placeOf(own, someNode(input)),
      'timeout-minutes': 120,
      permissions: permissions(input),
      env: Object.keys(variables).length > 0 ? environmentOf(variables) : undefined,
      steps: [
        checkout(),
        ...setUp(input, own),
        ...(mirror && builds.length > 0 ? [fetchBinaries(mirror)] : []),
        {
          name: 'Run',
          shell: 'bash',
          env: secretValues(secretsOf(input, name === sign ? 'sign' : 'other')),
          run: literal([...sourced(input, own.setup.spack), ...own.before, ...own.script].join('\n')),
        },
        ...(mirror ? [keepMirror(mirror)] : []),
      ],
    };
  }
  return jobs;
}

/**
 * The variable that holds a text of the jobs' setups. The texts stand once in a workflow, not in each of its jobs, which
 * would not leave room for many of them.
 */
function setupVariable(at: number): string {
  return `STACKWRIGHT_SETUP_${at}`;
}

function sourced(input: PipelineInput, texts: readonly string[]): string[] {
  if (texts.length === 0) return [];
  const all = setupTexts(input);
  return texts.map((text) => `eval "$${setupVariable(all.indexOf(text))}"`);
}

/** A step of its own, which gets no secret, brings the programs that the job calls. */
function setUp(input: PipelineInput, { setup: { tools, stackwright } }: JobScript): Plain[] {
  const lines = sourced(input, [...tools, ...stackwright]);
  if (lines.length === 0) return [];
  if (stackwright.length > 0)
    lines.push('ls -d "$tools"/bin "$tools"/node-*/bin 2>/dev/null >> "$GITHUB_PATH" || true');
  return [{ name: 'Set up', shell: 'bash', run: lines.join('\n') }];
}

/** A job after all builds runs where packages are built. */
function someNode({ pruned }: PipelineInput): Job['node'] | undefined {
  const [job] = [...pruned.graph.jobs.values(), ...pruned.full.jobs.values()];
  return job?.node;
}

function secretValues(secrets: readonly string[]): Plain | undefined {
  if (secrets.length === 0) return undefined;
  return Object.fromEntries(secrets.map((name) => [name, expression(`secrets.${name}`)]));
}

/** A job's identifier: GitHub takes letters, digits, dashes and underscores, and a letter or underscore first. */
function idOf({ node, hash }: Job): string {
  const safe = (text: string) => text.replace(/[^\w-]/g, '-');
  const name = safe(node.name);
  return `${/^[a-z_]/i.test(name) ? '' : '_'}${name.slice(0, 80)}-${safe(hash.slice(0, 12))}`;
}

/** Names of images and labels are the stack's own texts. */
function placeOf(script: JobScript, node: Job['node'] | undefined): Plain {
  const { 'runs-on': runner, container } = machineOf(script, node).machine;
  return {
    'runs-on': typeof runner === 'string' ? literal(runner) : runner.map(literal),
    container: container && { image: literal(container.image) },
  };
}

/** Only a mirror in GitHub's own registry needs more than to read the repository. */
function permissions({ mirrors }: PipelineInput): Plain | undefined {
  const registry = /^oci(\+https?)?:\/\/ghcr\.io\//.test(mirrors.destination.push);
  return registry ? { contents: 'read', packages: 'write' } : undefined;
}

function environmentOf(variables: Readonly<Record<string, string>>): Plain {
  return Object.fromEntries(
    Object.entries(variables).map(([name, value]) => {
      if (!isVariableName(name)) throw badName('variable', name);
      return [name, literal(value)];
    }),
  );
}

/** Text that GitHub does not take for an expression. */
function literal(text: string): string {
  return text.replaceAll(open, expression(`'${open}'`));
}

function checkout(): Plain {
  return { uses: githubActions.checkout.pinned, with: { 'persist-credentials': false } };
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
    uses: githubActions.download.pinned,
    with: { pattern: 'binary-*', path: literal(mirror), 'merge-multiple': true },
  };
}

function keepBinaries(mirror: string, id: string): Plain[] {
  return [
    {
      name: 'Collect new binaries',
      shell: 'bash',
      run: [
        'mkdir -p .stackwright-new',
        literal(`cd ${shellWord(mirror)}`),
        'find . -type f -newer "$GITHUB_WORKSPACE/.stackwright-start" -exec cp --parents -t "$GITHUB_WORKSPACE/.stackwright-new" {} +',
      ].join('\n'),
    },
    {
      name: 'Keep binaries',
      uses: githubActions.upload.pinned,
      with: { name: `binary-${id}`, path: '.stackwright-new/', 'include-hidden-files': true },
    },
  ];
}

function keepMirror(mirror: string): Plain {
  return {
    name: 'Keep the mirror',
    uses: githubActions.upload.pinned,
    with: { name: 'mirror', path: literal(mirror), overwrite: true },
  };
}

/** Writes the tag behind each pinned action. */
function withTags(text: string): string {
  let result = text;
  for (const { pinned, version } of Object.values(githubActions)) {
    result = result.replace(
      new RegExp(`(uses: )"?${pinned.replace('/', '\\/')}"?$`, 'gm'),
      `$1${pinned} # ${version}`,
    );
  }
  return result;
}
