import { copyFile, mkdir, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { describe } from '@stackwright/buildcache';
import type { Job, JobGraph } from '@stackwright/job-graph';
import type { SandboxChoice } from '@stackwright/spack';
import type { Caller } from '../caller.js';
import { installRootOf } from '../configuration.js';
import { failureIn, StackError } from '../error.js';
import { recordFile } from '../record.js';
import { reportBuild } from '../report.js';
import { copyMasked, Masking, secretsOf } from '../secrets.js';
import { requireSigner } from '../signer.js';
import { refuseChanged, type Stack } from '../stack.js';
import { tellStale } from '../stale/staleness.js';
import { survey } from '../survey.js';
import { openWork, type WorkFolder } from '../work.js';
import { type AccessOptions, openAccess, openTarget } from './access.js';
import type { BuildLimits } from './attempts.js';
import { buildAndRecord, notResident } from './build.js';
import { openSite } from './site.js';
import { packagesToTest, type TestChoice } from './tests.js';

export interface RebuildOptions extends AccessOptions, BuildLimits {
  /** Start of the dag hash of the package; `SPACK_JOB_SPEC_DAG_HASH` when left out. */
  readonly hash?: string;
  /** Build it although the mirror has it. */
  readonly force?: boolean;
  /** Run the package's build-time and stand-alone tests: `roots` where it is one that the manifest names. */
  readonly tests?: TestChoice;
  /** Report to the stack's CDash. */
  readonly cdash: boolean;
  /** Keep builds from seeing other processes; `auto` when left out. */
  readonly sandbox?: SandboxChoice;
  readonly work?: string;
}

/** What became of one job. */
export interface Rebuilt {
  readonly hash: string;
  readonly name: string;
  readonly version: string;
  /** `pushed`, or why nothing had to be done. */
  readonly outcome: string;
}

/** The stack that `generate` left for a job: `SPACK_CONCRETE_ENV_DIR`, else the usual folder, else this one. */
export async function jobFolder({ env, cwd }: Caller): Promise<string> {
  const given = env.SPACK_CONCRETE_ENV_DIR;
  if (given) return resolve(env.CI_PROJECT_DIR ?? cwd, given);
  const usual = resolve(cwd, 'jobs_scratch_dir/concrete_environment');
  return (await stat(usual).catch(() => undefined)) ? usual : '.';
}

/** One job: builds a package unless a mirror has it, signs it, pushes it, and reports. */
export async function rebuild(caller: Caller, stack: Stack, options: RebuildOptions): Promise<Rebuilt> {
  const { signal, env } = caller;
  const environment = await stack.environment();
  await refuseChanged(stack);
  const graph = await stack.graph();
  await tellStale(caller, stack);
  const { node } = findJob(graph, options.hash ?? env.SPACK_JOB_SPEC_DAG_HASH);
  const { hash, name, version } = node;
  const ended = (outcome: string): Rebuilt => ({ hash, name, version, outcome });
  if (node.external) return ended('external, nothing to build');

  const work = await openWork(caller, stack, options.work);
  const access = await openAccess(caller, stack, work, options);
  try {
    const found = options.force
      ? { packages: new Map() }
      : await survey(access.mirrors, [node], { by: 'manifests' });
    const there = found.packages.get(hash);
    if (there?.state === 'usable') return ended(`up to date on ${there.place.fetch}`);
    if (there) caller.note(`${describe(node)} is built again: ${there.error?.message ?? there.reason}`);
    const log = join(work.logs, `${name}-${hash}.txt`);
    try {
      await caller.progress.phase(`Build ${describe(node)}`, async (report) => {
        // A key of its own would help no other job: nobody could trust it.
        const { mirror, signer, trusted } = await openTarget(
          caller,
          stack,
          work,
          options,
          access,
          found,
          () => requireSigner(caller, options, 'To push without signatures: --unsigned.'),
        );
        const site = await openSite(stack, work, {
          why: `build ${describe(node)}`,
          env,
          mirror: { name: access.target.name, url: mirror.url, signed: signer !== undefined },
          trusted,
          installRoot: installRootOf(environment),
          dependencies: 'mirrors',
          resume: true,
          sandbox: options.sandbox,
          signal,
        });
        if (site.spack.note) report.line(notResident(site.spack.note));
        const isTested = await packagesToTest(stack, options.tests);
        const masking = new Masking(secretsOf(env));
        const outcome = await buildAndRecord(caller, stack, work, site, mirror, node, {
          signer,
          log,
          again: options.force === true || there !== undefined,
          rebuild: options.force === true || there !== undefined,
          tests: isTested(node),
          trusted,
          limits: options,
          onRetry: report.line,
          onOutput: (text) => report.output(masking.add(text)),
          signal,
        }).finally(() => {
          report.output(masking.end());
          return site.close();
        });
        report.result(`${outcome}, ${signer ? 'signed and ' : ''}pushed to ${mirror.url}`);
      });
    } catch (error) {
      const failure = failureIn(error);
      if (!failure) throw error;
      const text = `${describe(node)} failed (${failure.kind}): ${failure.message}`;
      throw new StackError('build-failed', text, { failure }, { cause: error });
    } finally {
      await keepArtifacts(caller, work, hash, log);
      if (options.cdash) await reportBuild(caller, stack, work, hash);
    }
    return ended('pushed');
  } finally {
    await access.mirrors.close();
  }
}

function findJob(graph: JobGraph, text: string | undefined): Job {
  const hash = text?.replace(/^\//, '');
  if (!hash)
    throw new StackError('no-such-package', 'Which package is to be built?', {
      hint: 'Give --hash HASH; in CI, SPACK_JOB_SPEC_DAG_HASH says it.',
    });
  const found = [...graph.jobs.values()].filter((job) => job.hash.startsWith(hash));
  const [only] = found;
  if (!only)
    throw new StackError('no-such-package', `The lock has no package /${hash}.`, {
      hint: 'stackwright graph STACK lists them.',
    });
  if (found.length > 1)
    throw new StackError('no-such-package', `/${hash} stands for ${found.length} packages of the lock.`, {
      hint: 'Give more of the hash.',
    });
  return only;
}

/**
 * Log and record of the build go to the job's artifacts, too: `stackwright-build-out.txt` for people, and `builds/` and
 * `logs/` as in a work folder for `report --collect`, where the artifacts of many jobs may lie in one folder.
 */
async function keepArtifacts(
  { env, cwd }: Caller,
  work: WorkFolder,
  hash: string,
  log: string,
): Promise<void> {
  const folder = env.SPACK_JOB_LOG_DIR;
  if (!folder || !(await stat(log).catch(() => undefined))) return;
  const target = resolve(env.CI_PROJECT_DIR ?? cwd, folder);
  const [builds, logs] = [join(target, 'builds'), join(target, 'logs')];
  await mkdir(builds, { recursive: true });
  await mkdir(logs, { recursive: true });
  // A build may print what it finds in its surroundings.
  const secrets = secretsOf(env);
  const kept = join(target, 'stackwright-build-out.txt');
  await copyMasked(log, kept, secrets);
  await copyFile(kept, join(logs, basename(log)));
  const record = recordFile(work, hash);
  if (await stat(record).catch(() => undefined))
    await copyMasked(record, join(builds, `${hash}.json`), secrets);
}
