import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, installedPackage, type Mirror, type Signer } from '@stackwright/buildcache';
import { duration, type Job, type Pruned, remember, runPlan, writeHistory } from '@stackwright/job-graph';
import type { SandboxChoice } from '@stackwright/spack';
import type { ConcreteNode } from '@stackwright/spack-env';
import type { Caller, PhaseReport } from '../caller.js';
import { describeError, failureIn, StackError } from '../error.js';
import { readHistory } from '../history.js';
import { type BuildRecord, forgetBuilds, phaseTimes, recordBuild } from '../record.js';
import { keepReproduction } from '../reproduce/reproduction.js';
import { secretsOf, withoutSecrets } from '../secrets.js';
import type { Stack } from '../stack.js';
import type { WorkFolder } from '../work.js';
import { attempt, type BuildLimits } from './attempts.js';
import { hashesOf, Journal } from './journal.js';
import { phaseReader, RunningBuilds } from './running.js';
import { type BuildSite, openSite } from './site.js';
import { packagesToTest, type TestChoice } from './tests.js';

export interface BuildOptions {
  readonly pruned: Pruned;
  readonly mirror: Mirror;
  /** What the stack calls it. */
  readonly mirrorName: string;
  readonly signer: Signer | undefined;
  /** Files of public keys that Spack is to trust. */
  readonly trusted: readonly string[];
  readonly installRoot: string | undefined;
  /** Jobs at a time. */
  readonly jobs: number;
  /** Build everything from nothing. */
  readonly rebuild: boolean;
  /** Packages that the mirror has and that do not count: they are replaced. */
  readonly refused: ReadonlySet<string>;
  /** Go on with what an earlier run installed. */
  readonly resume: boolean;
  readonly sandbox: SandboxChoice | undefined;
  readonly limits: BuildLimits;
  /** Start nothing more after the first failure. */
  readonly failFast: boolean;
  /** Whose tests are run; nobody's when left out. */
  readonly tests: TestChoice | undefined;
}

/** What became of the jobs that ran. */
export interface BuildResult {
  readonly outcomes: ReadonlyMap<string, 'done' | 'failed' | 'blocked' | 'cancelled'>;
  /** Seconds of each job that ran. */
  readonly seconds: ReadonlyMap<string, number>;
  readonly errors: ReadonlyMap<string, unknown>;
  /** The failed job that each blocked job needs. */
  readonly blockedBy: ReadonlyMap<string, Job>;
}

/** What nothing had to be built for. */
export const nothingBuilt: BuildResult = {
  outcomes: new Map(),
  seconds: new Map(),
  errors: new Map(),
  blockedBy: new Map(),
};

/** Milliseconds that an interrupted run spends on the index. */
const indexTime = 30_000;

/**
 * Builds every job of a pruned graph with Spack, signs and pushes each binary as soon as it is there, and then brings
 * the mirror's index up to date, also when some failed or the run was interrupted: what was built is not built again.
 * @throws SpackError (`missing`) when there is no Spack; jobs that fail are in the result
 */
export async function buildMissing(
  caller: Caller,
  stack: Stack,
  work: WorkFolder,
  options: BuildOptions,
  report: PhaseReport,
): Promise<BuildResult> {
  const { pruned, mirror, signer } = options;
  const { signal } = caller;
  const total = pruned.graph.jobs.size;
  const site = await openSite(stack, work, {
    why: `build ${total === 1 ? 'the package that the mirror lacks' : `the ${total} packages that the mirror lacks`}`,
    env: caller.env,
    mirror: { name: options.mirrorName, url: mirror.url, signed: signer !== undefined },
    trusted: options.trusted,
    installRoot: options.installRoot,
    dependencies: options.rebuild ? 'sources' : 'anywhere',
    resume: options.resume,
    sandbox: options.sandbox,
    signal,
  });
  if (site.spack.note) report.line(notResident(site.spack.note));
  if (!options.resume) await forgetBuilds(work);
  const history = await readHistory(work.history);
  // Built in this run before it was stopped: only the push is made up for.
  const builtBefore = options.resume ? await hashesOf('built', work) : new Set<string>();
  const journal = await Journal.open(work, { more: options.resume });
  const isTested = await packagesToTest(stack, options.tests);
  const secrets = secretsOf(caller.env);
  // Installed by an earlier run or by hand, and now only packed.
  const taken = new Set<string>();
  const blockedBy = new Map<string, Job>();
  const running = new RunningBuilds(pruned.graph, history, options.jobs);
  const tell = () => report.builds(running.state());
  const clock = setInterval(tell, 1000).unref();
  const result = await runPlan(
    pruned.graph,
    async ({ hash, node }, jobSignal) => {
      const log = join(work.logs, `${node.name}-${hash}.txt`);
      const outcome = await buildAndRecord(caller, stack, work, site, mirror, node, {
        signer,
        log,
        again: options.rebuild || options.refused.has(hash),
        rebuild: (options.rebuild || options.refused.has(hash)) && !builtBefore.has(hash),
        tests: isTested(node),
        trusted: options.trusted,
        journal,
        onPhase: (phase) => running.phase(node, phase),
        limits: options.limits,
        onRetry: (text) => report.line(`↻ ${describe(node)}: ${withoutSecrets(text, secrets)}`),
        signal: jobSignal,
      });
      if (outcome === 'was installed') taken.add(hash);
    },
    {
      concurrency: options.jobs,
      failFast: options.failFast,
      signal,
      durations: running.durations,
      onEvent: (event) => {
        const { name, version, hash } = event.job.node;
        const title = `${name}@${version}/${hash.slice(0, 7)}`;
        if (event.type === 'start') {
          running.start(event.job.node);
          report.started(`▸ ${title} started`);
        } else {
          running.end(event.job.node, 'seconds' in event ? event.seconds : 0);
        }
        if (event.type === 'done')
          report.line(
            `✓ ${title} ${taken.has(hash) ? 'was installed' : 'built'}, ${signer ? 'signed and ' : ''}pushed (${duration(event.seconds)})`,
          );
        if (event.type === 'failed')
          report.line(`✗ ${title} failed${withoutSecrets(describeFailure(event.error), secrets)}`);
        if (event.type === 'blocked') {
          blockedBy.set(hash, event.by);
          report.line(`⊘ ${title} not built: it needs ${event.by.node.name}`);
        }
        tell();
      },
    },
  ).finally(() => {
    clearInterval(clock);
    return site.close();
  });
  const now = Date.now() / 1000;
  const builds = [...result.seconds].flatMap(([hash, seconds]) => {
    const job = pruned.graph.jobs.get(hash);
    return job && result.outcomes.get(hash) === 'done' && !taken.has(hash)
      ? [{ hash, name: job.node.name, version: job.node.version, seconds, at: now }]
      : [];
  });
  await writeFile(work.history, writeHistory(remember(history, builds)));
  const done = [...result.outcomes.values()].filter((outcome) => outcome === 'done').length;
  if (done > 0) {
    report.update('updating the index');
    // An interrupted run leaves an index, too.
    const still = signal.aborted ? AbortSignal.timeout(indexTime) : signal;
    await mirror.updateIndex({ signer, signal: still });
  }
  const text = `${builds.length} built with Spack ${site.spack.version}${taken.size > 0 ? `, ${taken.size} were installed` : ''}`;
  if (signal.aborted) report.failed(`${text}, then interrupted`);
  else if (result.errors.size > 0) report.failed(`${text}, ${result.errors.size} failed`);
  else report.result(text);
  return { ...result, blockedBy };
}

/** What a failed build says in a line: its kind and the first error of its log. The end of the run tells the rest. */
function describeFailure(error: unknown): string {
  const failure = failureIn(error);
  if (!failure) return `: ${describeError(error)}`;
  const tries = failure.attempts > 1 ? `, ${failure.attempts} attempts` : '';
  return ` (${failure.kind}${tries}): ${failure.message}`;
}

/** What is told where Spack cannot be resident. */
export function notResident(why: string): string {
  return `Spack is started for each package, since it cannot be resident: ${why}`;
}

export interface BuildOneOptions {
  readonly signer: Signer | undefined;
  /** The file that gets Spack's output. */
  readonly log: string;
  /** Push it also where the mirror has it. */
  readonly again: boolean;
  /** Build it also where it is installed. */
  readonly rebuild: boolean;
  /** Run its build-time and stand-alone tests. */
  readonly tests?: boolean;
  readonly limits: BuildLimits;
  /** Files of public keys that Spack trusts: they are kept beside a failed build, to repeat it. */
  readonly trusted: readonly string[];
  /** Told before another attempt, with the reason. */
  readonly onRetry: (text: string) => void;
  readonly journal?: Journal;
  /** Told of the phases of the build: see `RunningBuild`. */
  readonly onPhase?: (phase: string) => void;
  /** Told what the build prints, as it comes. */
  readonly onOutput?: (text: string) => void;
  readonly signal: AbortSignal;
}

/** Builds one package unless it is installed, and pushes it: tarball and spec first, the signed manifest last. */
async function buildAndPush(
  stack: Stack,
  site: BuildSite,
  mirror: Mirror,
  node: ConcreteNode,
  options: BuildOneOptions,
): Promise<{ readonly outcome: 'built' | 'was installed'; readonly prefix: string }> {
  const { signer, log, again, rebuild, tests, limits, onRetry, journal, signal } = options;
  const { onPhase = () => {} } = options;
  const { name, hash } = node;
  const before = (await site.installed())?.installed.has(hash) ?? false;
  const build = !before || rebuild;
  if (build) await journal?.note('started', node);
  if (build || tests) {
    const { timeout, silence } = limits;
    let installed = !build;
    const phaseOf = phaseReader();
    const onOutput = (text: string) => {
      const phase = phaseOf(text);
      if (phase) onPhase(phase);
      options.onOutput?.(text);
    };
    await attempt(
      async ({ number, jobs }) => {
        const common = { timeout, silence, signal, log, onOutput, append: number > 1 };
        if (!installed) await site.build(hash, { ...common, jobs, tests, overwrite: before });
        installed = true;
        // What was installed without a test, by an earlier run or by hand, is not pushed without one.
        if (tests) onPhase('test');
        if (tests) await site.test(hash, { ...common, append: number > 1 || build });
      },
      {
        limits,
        failures: stack.settings.failures,
        log,
        signal,
        onRetry: ({ kind, first }, error) =>
          onRetry(`another attempt after a failure (${kind.name}): ${first?.text ?? describeError(error)}`),
      },
    );
  }
  const tree = await site.installed();
  const prefix = tree?.prefixes.get(hash);
  if (!tree || !prefix) {
    throw new StackError(
      'build-failed',
      `Spack says that it installed ${name}/${hash}, but its tree at ${site.root} does not list it.`,
    );
  }
  await journal?.note('built', node);
  onPhase('push');
  await mirror.push(installedPackage(prefix, tree, site.spack.prefix), {
    signer: journal ? journal.noting(signer, node) : signer,
    force: again,
    signal,
  });
  await journal?.note('pushed', node);
  return { outcome: build ? 'built' : 'was installed', prefix };
}

/**
 * Builds and pushes one package, and writes down what became of it. What was installed already is no build. What repeats
 * a failed build is kept in the work folder.
 */
export async function buildAndRecord(
  caller: Caller,
  stack: Stack,
  work: WorkFolder,
  site: BuildSite,
  mirror: Mirror,
  node: ConcreteNode,
  options: BuildOneOptions,
): Promise<'built' | 'was installed'> {
  const { hash } = node;
  const started = new Date();
  const record = (more: Pick<BuildRecord, 'outcome' | 'failure' | 'times'>) =>
    recordBuild(work, {
      hash,
      started: started.toISOString(),
      seconds: (Date.now() - started.getTime()) / 1000,
      log: options.log,
      ...more,
    });
  const { outcome, prefix } = await buildAndPush(stack, site, mirror, node, options).catch(async (error) => {
    // What was stopped has not failed.
    if (!options.signal.aborted) {
      await options.journal?.note('failed', node);
      await record({
        outcome: 'failed',
        failure: withoutSecrets(describeError(error), secretsOf(caller.env)),
      });
      const failure = failureIn(error);
      const repeat =
        failure &&
        (await keepReproduction(caller, stack, work, {
          node,
          failure,
          tests: options.tests ?? false,
          mirror: { url: mirror.url, signed: options.signer !== undefined },
          trusted: options.trusted,
        }));
      if (failure && repeat) {
        const details = { hint: error.hint, failure: { ...failure, repeat } };
        throw new StackError('build-failed', error.message, details, { cause: error });
      }
    }
    throw error;
  });
  if (outcome === 'built') await record({ outcome: 'passed', times: await phaseTimes(prefix) });
  return outcome;
}
