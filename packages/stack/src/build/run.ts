import { writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { describe } from '@stackwright/buildcache';
import { type AssembledImage, describeMissing, Staging, writeLayout } from '@stackwright/image';
import {
  engines,
  externals,
  type JobGraph,
  JobGraphError,
  type Pruned,
  prune,
  upToDate,
} from '@stackwright/job-graph';
import type { JobState, RunRecord } from '@stackwright/report';
import { type SandboxChoice, Spack } from '@stackwright/spack';
import type { ConcreteNode } from '@stackwright/spack-env';
import prettyBytes from 'pretty-bytes';
import { type Caller, type PhaseReport, timed } from '../caller.js';
import { writeLock } from '../concretize.js';
import { installRootOf } from '../configuration.js';
import { describeError, failureIn, StackError } from '../error.js';
import { shipped } from '../groups.js';
import { type ImageOptions, packagesOfImage, stackImage } from '../image.js';
import type { MirrorPlace, StackMirrors } from '../mirrors.js';
import { runPage } from '../page.js';
import { planPipeline, writeFiles } from '../pipeline.js';
import { billOf } from '../proof.js';
import { readRecords } from '../record.js';
import { withReasons } from '../run-record.js';
import { childEnvironment, referredVariables, secretsOf, withoutSecrets } from '../secrets.js';
import { createRunSigner } from '../signer.js';
import { hasLock, refuseChanged, type Stack } from '../stack.js';
import { tellStale } from '../stale/staleness.js';
import { writeStart } from '../status.js';
import { locate, type Survey, survey } from '../survey.js';
import { checkWhole } from '../whole.js';
import { lockWork, openWork, type WorkFolder } from '../work.js';
import { type Access, type AccessOptions, openAccess, openTarget } from './access.js';
import type { BuildLimits } from './attempts.js';
import { type BuildResult, buildMissing, nothingBuilt } from './build.js';
import { recordFailure } from './failure.js';
import { hashesOf } from './journal.js';
import type { TestChoice } from './tests.js';

export interface RunOptions extends AccessOptions, ImageOptions, BuildLimits {
  /** Packages built at a time. */
  readonly jobs: number;
  /** The folder that all files of the run go into; `.stackwright/STACK` when left out. */
  readonly work?: string;
  /** Build everything, whatever the mirrors have. */
  readonly rebuild?: boolean;
  /** Go on with what an interrupted or failed run installed. */
  readonly resume?: boolean;
  /** Go on although the lock lacks roots of the manifest, or has others. */
  readonly stale?: boolean;
  /** Run build-time and stand-alone tests, of the roots or of all packages; what fails them is not pushed. */
  readonly tests?: TestChoice;
  /** Start no more builds after the first failure. */
  readonly failFast?: boolean;
  /** Keep builds from seeing other processes; `auto` when left out. */
  readonly sandbox?: SandboxChoice;
  /** Told what the run came to, also where it failed or was interrupted. */
  readonly onEnd?: (summary: RunSummary) => void;
}

/** The record of a run that has ended. */
export type RunSummary = RunRecord &
  Required<Pick<RunRecord, 'mirror' | 'seconds' | 'pipeline' | 'report'>> & {
    readonly state: 'done' | 'failed' | 'interrupted';
  };

/** A run that came to its image. */
export type FinishedRun = RunSummary & Required<Pick<RunSummary, 'image'>>;

const tag = 'latest';

/**
 * Takes a stack all the way on this machine: reads it, asks the mirrors, writes the pipeline, builds what is missing,
 * assembles the image, reports. Nothing but the work folder, the mirror and Spack's installation tree is written.
 * Page and `run.json` are written also when packages failed or the run was interrupted.
 * @throws StackError `build-failed` naming the packages; AbortError when the caller's signal fires
 */
export async function runStack(caller: Caller, stack: Stack, options: RunOptions): Promise<FinishedRun> {
  const times: [string, number][] = [];
  const self: Caller = { ...caller, progress: timed(caller.progress, times) };
  const work = await openWork(self, stack, options.work);
  const unlock = await lockWork(self, work);
  try {
    return await runIn(work, self, stack, options, times);
  } finally {
    await unlock();
  }
}

async function runIn(
  work: WorkFolder,
  self: Caller,
  stack: Stack,
  options: RunOptions,
  times: [string, number][],
): Promise<FinishedRun> {
  const began = performance.now();
  await self.progress.phase('Read the stack', (report) => readStack(self, stack, options, report));
  const graph = await stack.graph();
  const access = await openAccess(self, stack, work, options);
  try {
    const staging = await Staging.open(work.cache);
    // A run that builds everything again takes what it pushed before it was stopped, and nothing else.
    const counted = options.rebuild
      ? options.resume
        ? await hashesOf('pushed', work)
        : new Set<string>()
      : undefined;
    const found =
      counted?.size === 0
        ? { packages: new Map() }
        : await self.progress.phase('Check the mirror', (report) =>
            checkMirrors(self, stack, access, staging, { ...options, counted }, report),
          );
    await bringIndexUp(self, access, found, work);
    const pruned = prune(graph, [externals, upToDate(locate(found))]);
    await self.progress.phase('Write the pipeline', async ({ result }) =>
      result(await writePipelineOf(self, stack, access.mirrors, found, work)),
    );
    await writeStart(work, stack, access.target.push, pruned);
    const { built, mirrors } = await buildWhatIsMissing(self, stack, work, access, found, pruned, options);
    const states = jobStates(pruned, built, work, secretsOf(self.env));
    const finish = async (image: AssembledImage | undefined): Promise<RunSummary> => {
      const state = self.signal.aborted ? 'interrupted' : image ? 'done' : 'failed';
      const seconds = (performance.now() - began) / 1000;
      const summary = summarize(self, stack, work, access.target, graph, {
        state,
        states,
        built,
        image,
        seconds,
      });
      const run = await withReasons(self, graph, await readRecords(work), summary);
      await writeFile(work.result, `${JSON.stringify(run, null, 2)}\n`);
      await writeFile(
        work.report,
        runPage({
          title: `${stack.name}: ${state}`,
          graph,
          states,
          durations: built.seconds,
          image,
          times,
          facts: [`Mirror: ${access.target.push}`],
          run,
        }),
      );
      options.onEnd?.(summary);
      return summary;
    };
    let image: AssembledImage | undefined;
    try {
      self.signal.throwIfAborted();
      if (built.errors.size > 0) throw failureOf(built, graph, work);
      image = await self.progress.phase('Assemble the image', (report) =>
        makeImage(self, stack, work, options, { mirrors, found, staging }, report),
      );
    } catch (error) {
      // The page is worth most after a failure.
      await finish(undefined);
      throw error;
    }
    return { ...(await finish(image)), image: describeImage(image, work) };
  } finally {
    await access.mirrors.close();
  }
}

async function readStack(
  caller: Caller,
  stack: Stack,
  options: RunOptions,
  report: PhaseReport,
): Promise<void> {
  const { env, signal } = caller;
  const environment = await stack.environment();
  if (!(await hasLock(stack.folder))) {
    const spack = await Spack.require(`concretize ${stack.name}, which has no spack.lock`, {
      env: childEnvironment(env, referredVariables(environment.config)),
      signal,
    });
    report.line(`no spack.lock yet: Spack ${spack.version} concretizes, which can take minutes`);
    await writeLock(caller, stack, spack, { onLine: report.update });
  }
  await refuseChanged(stack);
  const lock = await stack.lock();
  await tellStale(caller, stack, { refuse: true, stale: options.stale });
  report.result(`${stack.name}, ${lock.roots.length} roots, ${lock.nodes.size} specs`);
}

async function checkMirrors(
  { signal }: Caller,
  stack: Stack,
  { mirrors, target }: Access,
  staging: Staging,
  options: RunOptions & { readonly counted: ReadonlySet<string> | undefined },
  report: PhaseReport,
): Promise<Survey> {
  const { counted } = options;
  const nodes = [...(await stack.graph()).jobs.values()]
    .map((job) => job.node)
    .filter((node) => !node.external && (counted?.has(node.hash) ?? true));
  const looked = await survey(mirrors, nodes, {
    by: 'manifests',
    onProgress: (done, all) => report.update(`signature ${done} of ${all}`),
  });
  const found = await checkWhole(looked, nodes, {
    staging,
    inImage: new Set(packagesOfImage(stack, await shipped(stack), options).map((node) => node.hash)),
    signal,
    onProgress: (done, all) => report.update(`checksum ${done} of ${all}`),
  });
  const usable = usableOf(found);
  for (const [hash, one] of found.packages) {
    const node = nodes.find((each) => each.hash === hash);
    if (node && one.state === 'refused') report.line(`${describe(node)} does not count: ${one.reason}`);
  }
  const how = target.unsigned ? 'whole (signatures not checked)' : 'signed by a trusted key and whole';
  report.result(`has ${usable} of ${nodes.length}${usable > 0 ? `, all ${how}` : ''}`);
  return found;
}

function usableOf({ packages }: Survey): number {
  return [...packages.values()].filter(({ state }) => state === 'usable').length;
}

/** The index of a mirror that belongs to the run: also when an earlier run ended between its last package and the index. */
async function bringIndexUp(
  { signal }: Caller,
  { mirrors, target, reseeded, signer }: Access,
  found: Survey,
  work: WorkFolder,
): Promise<void> {
  const mirror = await mirrors.reader(target);
  if (!mirror) return;
  if (reseeded || (found.packages.size > 0 && mirror.folder === work.mirror)) {
    await mirror.updateIndex({ signer: await signer(), signal });
  }
}

/** Writes the GitLab pipeline of the whole graph. Returns what to tell of it. */
async function writePipelineOf(
  caller: Caller,
  stack: Stack,
  mirrors: StackMirrors,
  found: Survey,
  work: WorkFolder,
): Promise<string> {
  try {
    const { input } = await planPipeline(caller, stack, mirrors, { pruneDag: false }, { known: found });
    const place = { stack: stack.folder, from: caller.cwd, output: work.pipeline };
    const files = engines.gitlab.files(input, place);
    await writeFiles(files, input.settings);
    return `${input.pruned.graph.jobs.size} jobs${files.length > 1 ? ` in ${files.length} files` : ''}`;
  } catch (error) {
    // A stack that is only built here needs neither.
    if (error instanceof JobGraphError && error.code === 'no-ci')
      return 'none: spack.yaml has no "ci:" section';
    if (error instanceof StackError && error.code === 'no-mirror')
      return 'none: spack.yaml has no mirror for jobs';
    throw error;
  }
}

async function buildWhatIsMissing(
  caller: Caller,
  stack: Stack,
  work: WorkFolder,
  access: Access,
  found: Survey,
  pruned: Pruned,
  options: RunOptions,
): Promise<{ readonly built: BuildResult; readonly mirrors: StackMirrors }> {
  const missing = pruned.graph.jobs.size;
  if (missing === 0) {
    return { built: nothingBuilt, mirrors: access.mirrors };
  }
  return caller.progress.phase(`Build ${missing} package${missing === 1 ? '' : 's'}`, async (report) => {
    const target = await openTarget(caller, stack, work, options, access, found, createRunSigner);
    try {
      const built = await buildMissing(
        caller,
        stack,
        work,
        {
          ...target,
          // What no mirror has is built here: then Spack takes nothing that is signed.
          trusted: usableOf(found) > 0 ? target.trusted : [],
          mirrorName: access.target.name,
          pruned,
          refused: new Set(
            [...found.packages].filter(([, one]) => one.state === 'refused').map(([hash]) => hash),
          ),
          installRoot: installRootOf(await stack.environment()),
          jobs: options.jobs,
          rebuild: options.rebuild ?? false,
          resume: options.resume ?? false,
          sandbox: options.sandbox,
          limits: options,
          failFast: options.failFast ?? false,
          tests: options.tests,
        },
        report,
      );
      return { built, mirrors: target.mirrors };
    } finally {
      await target.mirror.close();
    }
  });
}

async function makeImage(
  caller: Caller,
  stack: Stack,
  work: WorkFolder,
  options: RunOptions,
  { mirrors, found, staging }: { mirrors: StackMirrors; found: Survey; staging: Staging },
  report: PhaseReport,
): Promise<AssembledImage> {
  const image = await stackImage(caller, stack, {
    ...options,
    mirrors,
    known: found,
    staging,
    onLayer: (ready, all) => report.update(`layer ${ready} of ${all}`),
    // What was built is worth keeping. Only publishing refuses such an image.
    onMissing: (missing) => {
      if (missing.length > 0) caller.note(`Warning: ${describeMissing(missing)}`);
    },
  });
  await writeLayout(image, work.image, tag);
  await writeFile(work.bill, await billOf(stack, image));
  const reused = image.packages.filter(({ origin }) => origin === 'mirror').length;
  const size = image.layers.reduce((sum, layer) => sum + layer.descriptor.size, 0);
  const blobs = image.packages.length > 0 ? `, ${reused} of ${image.packages.length} blobs reused` : '';
  report.result(`${image.layers.length} layers, ${prettyBytes(size)}${blobs}`);
  return image;
}

/** How each job of the whole graph stands at the end, and why. */
function jobStates(
  { full, decisions }: Pruned,
  built: BuildResult,
  work: WorkFolder,
  secrets: readonly string[],
): Map<string, JobState> {
  const states = new Map<string, JobState>();
  for (const { hash, node } of full.jobs.values()) {
    const outcome = built.outcomes.get(hash);
    const { action, reason } = decisions.get(hash) ?? {};
    if (outcome) states.set(hash, { state: outcome, seconds: built.seconds.get(hash), note: noteOf(hash) });
    else if (node.external) states.set(hash, { state: 'skip', note: 'external' });
    else states.set(hash, action === 'skip' ? { state: 'reused', note: reason } : { state: 'waiting' });
  }
  return states;

  function noteOf(hash: string): string | undefined {
    const needed = built.blockedBy.get(hash);
    if (needed) return `needs ${describe(needed.node)}, which failed`;
    const error = built.errors.get(hash);
    if (error === undefined) return undefined;
    const log = logOf(full.jobs.get(hash)?.node, work);
    return `${withoutSecrets(firstError(error), secrets)}; log: ${relative(work.root, log)}`;
  }
}

/** The line of an error that says most in one line. */
function firstError(error: unknown): string {
  const lines = describeError(error).split('\n');
  return (lines.find((line) => /\berror\b/i.test(line) && !/failed:$/.test(line)) ?? lines[0] ?? '').trim();
}

function logOf(node: ConcreteNode | undefined, work: WorkFolder): string {
  return node ? join(work.logs, `${node.name}-${node.hash}.txt`) : work.logs;
}

function failureOf({ errors, outcomes }: BuildResult, graph: JobGraph, work: WorkFolder): StackError {
  const blocked = [...outcomes.values()].filter((outcome) => outcome === 'blocked').length;
  const failed = [...errors.keys()]
    .flatMap((hash) => graph.jobs.get(hash)?.node ?? [])
    .map(describe)
    .join(', ');
  return new StackError(
    'build-failed',
    `${failed} failed${blocked > 0 ? `; ${blocked} that need ${errors.size > 1 ? 'them were' : 'it were'} not built` : ''}.`,
    {
      hint: `Logs: ${work.show(work.logs)}   Page: ${work.show(work.report)}\nWhat was built is in the mirror. Run again with --resume to go on.`,
    },
  );
}

function summarize(
  { env }: Caller,
  stack: Stack,
  work: WorkFolder,
  target: MirrorPlace,
  graph: JobGraph,
  run: {
    readonly state: RunSummary['state'];
    readonly states: ReadonlyMap<string, JobState>;
    readonly built: BuildResult;
    readonly image: AssembledImage | undefined;
    readonly seconds: number;
  },
): RunSummary {
  const secrets = secretsOf(env);
  const failureOfJob = (hash: string) => {
    const failure = failureIn(run.built.errors.get(hash));
    return failure && { failure: recordFailure(failure, secrets), repeat: failure.repeat };
  };
  return {
    stack: stack.name,
    state: run.state,
    mirror: target.push,
    jobs: [...graph.jobs.values()].map(({ hash, node }) => {
      const { state, seconds, note } = run.states.get(hash) ?? { state: 'waiting' as const };
      const log = run.built.seconds.has(hash) ? logOf(node, work) : undefined;
      return {
        hash,
        name: node.name,
        version: node.version,
        state,
        seconds,
        reason: note,
        log,
        ...failureOfJob(hash),
      };
    }),
    image: run.image && describeImage(run.image, work),
    pipeline: work.pipeline,
    report: work.report,
    seconds: run.seconds,
  };
}

function describeImage({ manifest, layers }: AssembledImage, work: WorkFolder): FinishedRun['image'] {
  return { path: work.image, tag, digest: manifest.descriptor.digest, layers: layers.length };
}
