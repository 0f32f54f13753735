import { writeFile } from 'node:fs/promises';
import { type AnyMirror, folderOf, updateAnyIndex } from '@stackwright/buildcache';
import {
  type AssembledImage,
  assembleImage,
  openBase,
  packagesOf,
  runtimeClosure,
  Staging,
  searchOrder,
  spdx,
  writeLayout,
} from '@stackwright/image';
import {
  externals,
  graphOf,
  type JobGraph,
  type JobState,
  type Pruned,
  prune,
  upToDate,
} from '@stackwright/job-graph';
import { Spack } from '@stackwright/spack';
import { type ConcreteNode, compareLock, type Environment, type Lock } from '@stackwright/spack-env';
import type { Context } from '../context.js';
import { RunnerError } from '../exit.js';
import { type PhaseReport, type Progress, progressFor } from '../progress.js';
import { environmentWithoutSecrets } from '../secrets.js';
import { hasLock, openStack, readEnvironment, readLock, type Stack } from '../stack.js';
import { type AccessOptions, installRootOf, openAccess, openForWriting } from './access.js';
import { type BuildResult, buildMissing } from './build.js';
import { type MirrorState, readMirrorState, verifyBlobs } from './mirror.js';
import { writePipeline } from './pipeline.js';
import { bytes, writeReport } from './report.js';
import { createSigner } from './signer.js';
import { openWork, type WorkFolder } from './work.js';

export interface RunOptions extends AccessOptions {
  readonly jobs: number;
  readonly work?: string;
  readonly rebuild?: boolean;
  readonly resume?: boolean;
  readonly base?: string;
  readonly installRoot?: string;
  readonly json?: boolean;
}

/** What `--json` prints and `run.json` holds. */
export interface RunSummary {
  readonly stack: string;
  readonly mirror: string;
  readonly jobs: readonly {
    readonly hash: string;
    readonly name: string;
    readonly version: string;
    readonly state: JobState['state'];
    readonly seconds?: number;
  }[];
  readonly image: {
    readonly path: string;
    readonly tag: string;
    readonly digest: string;
    readonly layers: number;
  };
  readonly pipeline: string;
  readonly report: string;
}

const tag = 'latest';

/**
 * Takes a stack all the way on this machine: reads it, asks the mirror, writes the pipeline, builds what is missing,
 * assembles the image, reports. Nothing but the work folder, the mirror and Spack's installation tree is written.
 */
export async function runStack(context: Context, argument: string, options: RunOptions): Promise<RunSummary> {
  const stack = await openStack(context, argument);
  const work = await openWork(context, stack, options.work);
  const times: [string, number][] = [];
  const progress = timed(progressFor(context, { quiet: options.json }), times);

  const { lock, environment } = await progress.phase('Read the stack', (report) =>
    readStack(context, stack, report),
  );
  const graph = graphOf(lock);
  const access = await openAccess(context, stack, environment, work, options);
  const staging = await Staging.open(work.cache);
  const found: MirrorState = options.rebuild
    ? new Map()
    : await progress.phase('Check the mirror', (report) =>
        checkMirror(context, access.mirror, lock, graph, staging, report),
      );
  // A run's own mirror also when an earlier run ended between its last package and the index.
  if (access.reseeded || (found.size > 0 && folderOf(access.mirror) === work.mirror)) {
    await updateAnyIndex(access.mirror, { signal: context.signal });
  }
  const pruned = prune(graph, [
    externals,
    upToDate((job) => (found.has(job.hash) ? { mirror: access.mirror.url } : undefined)),
  ]);
  await progress.phase('Write the pipeline', async ({ result }) =>
    result(await writePipeline(context, environment, lock, graph, work.pipeline)),
  );

  let built: BuildResult = { outcomes: new Map(), seconds: new Map(), errors: new Map() };
  const missing = pruned.graph.jobs.size;
  if (missing > 0) {
    built = await progress.phase(`Build ${missing} package${missing === 1 ? '' : 's'}`, async (report) => {
      const writing = await openForWriting(context, stack, work, options, access, () => createSigner(work));
      access.mirror = writing.mirror;
      const plan = {
        ...writing,
        pruned,
        installRoot: installRootOf(environment),
        jobs: options.jobs,
        rebuild: options.rebuild ?? false,
        resume: options.resume ?? false,
      };
      return buildMissing(context, stack, work, plan, report);
    });
  }

  const states = jobStates(pruned, built);
  let image: AssembledImage | undefined;
  let failed = true;
  try {
    if (built.errors.size > 0) throw failureOf(built, graph, work);
    image = await progress.phase('Assemble the image', (report) =>
      makeImage(context, stack, work, options, { lock, mirror: access.mirror, staging }, report),
    );
    failed = false;
  } finally {
    // The page is worth most when something failed.
    await writeReport(
      {
        title: `${stack.name}: ${failed ? 'failed' : 'done'}`,
        graph,
        states,
        durations: built.seconds,
        image,
        times,
        facts: [`Mirror: ${access.mirror.url}`],
      },
      work.report,
    );
  }
  const summary = summarize(stack, work, access.mirror, graph, states, image);
  await writeFile(work.result, `${JSON.stringify(summary, null, 2)}\n`);
  return summary;
}

interface ReadStack {
  readonly lock: Lock;
  readonly environment: Environment;
}

async function readStack(context: Context, stack: Stack, report: PhaseReport): Promise<ReadStack> {
  const environment = await readEnvironment(context, stack.folder);
  if (!(await hasLock(stack.folder))) {
    const { signal } = context;
    const spack = await Spack.require(`concretize ${stack.name}, which has no spack.lock`, {
      env: environmentWithoutSecrets(context.env),
      signal,
    });
    report.line(`no spack.lock yet: Spack ${spack.version} concretizes, which can take minutes`);
    await spack.concretize(stack.folder, { signal, onLine: report.update });
  }
  const lock = await readLock(stack.folder);
  const { missing } = compareLock(environment, lock);
  const [first] = missing;
  if (first) {
    const others = missing.length > 1 ? ` (and ${missing.length - 1} more)` : '';
    throw new RunnerError(
      'input',
      `${first.at.file}:${first.at.line}:${first.at.column}: spack.lock does not have the root "${first.text}"${others}: spack.yaml was changed after it was concretized.`,
      `Run: stackwright concretize ${stack.folder}`,
    );
  }
  report.result(`${stack.name}, ${lock.roots.length} roots, ${lock.nodes.size} specs`);
  return { lock, environment };
}

async function checkMirror(
  context: Context,
  mirror: AnyMirror,
  lock: Lock,
  graph: JobGraph,
  staging: Staging,
  report: PhaseReport,
): Promise<MirrorState> {
  const { signal } = context;
  const state = await readMirrorState(mirror, graph, {
    signal,
    onProgress: (done, all) => report.update(`signature ${done} of ${all}`),
  });
  const nodes = [...graph.jobs.values()].map((job) => job.node);
  await verifyBlobs(mirror, nodes, state, {
    staging,
    inImage: new Set(runtimeClosure(lock).map((node) => node.hash)),
    signal,
    onProgress: (done, all) => report.update(`checksum ${done} of ${all}`),
  });
  const wanted = nodes.filter((node) => !node.external).length;
  const how =
    mirror.policy.kind === 'trusted' ? 'signed by a trusted key and whole' : 'whole (signatures not checked)';
  report.result(`has ${state.size} of ${wanted}${state.size > 0 ? `, all ${how}` : ''}`);
  return state;
}

async function makeImage(
  context: Context,
  stack: Stack,
  work: WorkFolder,
  options: RunOptions,
  { lock, mirror, staging }: { lock: Lock; mirror: AnyMirror; staging: Staging },
  report: PhaseReport,
): Promise<AssembledImage> {
  const { signal } = context;
  const [text, cwd] = options.base
    ? [options.base, context.cwd]
    : [stack.settings.image.base ?? 'scratch', stack.folder];
  const base = await openBase(text, { cwd, env: context.env, signal });
  const packages = await packagesOf(mirror, lock, { signal });
  let ready = 0;
  const image = await assembleImage({
    packages,
    searched: searchOrder(lock),
    base,
    installRoot: options.installRoot ?? stack.settings.image.installRoot,
    settings: stack.settings.image,
    staging,
    signal,
    onLayer: () => report.update(`layer ${(ready += 1)} of ${packages.length}`),
  });
  await writeLayout(image, work.image, tag);
  await writeFile(work.bill, spdx(stack.name, image.bill, '1970-01-01T00:00:00Z'));
  const reused = image.packages.filter(({ origin }) => origin === 'mirror').length;
  const size = image.layers.reduce((sum, layer) => sum + layer.descriptor.size, 0);
  report.result(
    `${image.layers.length} layers, ${bytes(size)}, ${reused} of ${packages.length} blobs reused`,
  );
  return image;
}

/** How each job of the whole graph stands at the end. */
function jobStates({ full, decisions }: Pruned, built: BuildResult): Map<string, JobState> {
  const states = new Map<string, JobState>();
  for (const { hash, node } of full.jobs.values()) {
    const outcome = built.outcomes.get(hash);
    const seconds = built.seconds.get(hash);
    const reason = decisions.get(hash)?.reason;
    if (outcome) states.set(hash, { state: outcome, ...(seconds !== undefined ? { seconds } : {}) });
    else if (node.external) states.set(hash, { state: 'skip', note: 'external' });
    else
      states.set(
        hash,
        decisions.get(hash)?.action === 'skip' ? { state: 'reused', note: reason } : { state: 'waiting' },
      );
  }
  return states;
}

function failureOf({ errors, outcomes }: BuildResult, graph: JobGraph, work: WorkFolder): RunnerError {
  const name = (hash: string) => describeNode(graph.jobs.get(hash)?.node);
  const blocked = [...outcomes.values()].filter((outcome) => outcome === 'blocked').length;
  const failed = [...errors.keys()].map(name).join(', ');
  return new RunnerError(
    'failed',
    `${failed} failed${blocked > 0 ? `; ${blocked} that need ${errors.size > 1 ? 'them were' : 'it were'} not built` : ''}.`,
    `Logs: ${work.show(work.logs)}   Page: ${work.show(work.report)}\nWhat was built is in the mirror. Run again with --resume to go on.`,
  );
}

function describeNode(node: ConcreteNode | undefined): string {
  return node ? `${node.name}@${node.version}/${node.hash.slice(0, 7)}` : '';
}

function summarize(
  stack: Stack,
  work: WorkFolder,
  mirror: AnyMirror,
  graph: JobGraph,
  states: ReadonlyMap<string, JobState>,
  image: AssembledImage,
): RunSummary {
  return {
    stack: stack.name,
    mirror: mirror.url,
    jobs: [...graph.jobs.values()].map(({ hash, node }) => {
      const { state, seconds } = states.get(hash) ?? { state: 'waiting' as const };
      return {
        hash,
        name: node.name,
        version: node.version,
        state,
        ...(seconds !== undefined ? { seconds } : {}),
      };
    }),
    image: { path: work.image, tag, digest: image.manifest.descriptor.digest, layers: image.layers.length },
    pipeline: work.pipeline,
    report: work.report,
  };
}

/** Notes how long each phase took. */
function timed(progress: Progress, times: [string, number][]): Progress {
  return {
    phase: async (title, workOf) => {
      const started = performance.now();
      try {
        return await progress.phase(title, workOf);
      } finally {
        times.push([title, (performance.now() - started) / 1000]);
      }
    },
  };
}
