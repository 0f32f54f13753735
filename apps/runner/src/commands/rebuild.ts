import { copyFile, mkdir, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { describe, hasCode, isUnvouched } from '@stackwright/buildcache';
import { cdashFiles } from '@stackwright/cdash';
import { graphOf, type Job, type JobGraph } from '@stackwright/job-graph';
import type { Environment } from '@stackwright/spack-env';
import { ciConfigOf } from '../ci-config.js';
import type { Define } from '../command.js';
import { type Context, note, print, printJson } from '../context.js';
import { describeError, RunnerError } from '../exit.js';
import { collect } from '../options.js';
import { progressFor } from '../progress.js';
import { cdashClient, cdashTarget, packageReport } from '../report/cdash.js';
import { readRecords } from '../report/record.js';
import { type AccessOptions, installRootOf, openAccess, openForWriting } from '../run/access.js';
import { buildAndRecord } from '../run/build.js';
import { openSite } from '../run/site.js';
import { openWork, type WorkFolder } from '../run/work.js';
import { secretsOf, withoutSecrets } from '../secrets.js';
import { openStack, readEnvironment, readLock } from '../stack.js';

interface Options extends AccessOptions {
  readonly hash?: string;
  readonly force?: boolean;
  readonly tests?: boolean;
  readonly cdash: boolean;
  readonly work?: string;
  readonly json?: boolean;
}

export const define: Define = (command, context) => {
  command
    .argument('[stack]', 'folder with spack.yaml and spack.lock (in CI: $SPACK_CONCRETE_ENV_DIR)')
    .option('--hash <hash>', 'the package to build (in CI: $SPACK_JOB_SPEC_DAG_HASH)')
    .option('--mirror <url>', "build cache to take from and push to (the stack's own)")
    .option('-f, --force', 'build it although the mirror has it')
    .option('--tests', "run the package's own tests")
    .option('--trust <file>', 'public key whose signatures count (repeatable)', collect, [])
    .option('--unsigned', 'take and push packages without signatures')
    .option('--no-cdash', "do not report to the stack's CDash")
    .option('--work <folder>', 'where logs and state go (.stackwright/STACK)')
    .option('--json', 'print what was done as JSON')
    .action((stack: string | undefined, options: Options) => run(context, stack, options));
};

async function run(context: Context, argument: string | undefined, options: Options): Promise<void> {
  const { signal, env } = context;
  const stack = await openStack(context, argument ?? (await jobFolder(context)));
  const environment = await readEnvironment(context, stack.folder);
  const lock = await readLock(stack.folder);
  const graph = graphOf(lock);
  const { node } = findJob(graph, options.hash ?? env.SPACK_JOB_SPEC_DAG_HASH);
  const what = describe(node);
  const tell = (outcome: string) => {
    if (options.json)
      printJson(context, { hash: node.hash, name: node.name, version: node.version, outcome });
    else print(context, `${what}: ${outcome}`);
  };
  if (node.external) return tell('external, nothing to build');

  const work = await openWork(context, stack, options.work);
  const access = await openAccess(context, stack, environment, work, options);
  // A binary that may not be used is replaced.
  let refused = false;
  if (!options.force) {
    const there = await access.mirror.manifest(node, signal).catch((error: unknown) => {
      if (hasCode(error, 'missing-package')) return undefined;
      // A binary that may not be used is as good as none, but why is worth knowing.
      if (isUnvouched(error)) {
        note(context, `Built again: ${error.message}`);
        refused = true;
        return undefined;
      }
      throw error;
    });
    if (there) return tell(`up to date on ${access.mirror.url}`);
  }

  const progress = progressFor(context, { quiet: options.json });
  const log = join(work.logs, `${node.name}-${node.hash}.txt`);
  try {
    await progress.phase(`Build ${what}`, async (report) => {
      const { mirror, signer, trusted } = await openForWriting(
        context,
        stack,
        work,
        options,
        access,
        keyNeeded,
      );
      const site = await openSite(stack, work, {
        why: `build ${what}`,
        env,
        mirror: { url: mirror.url, signed: signer !== undefined },
        trusted,
        installRoot: installRootOf(environment),
        fresh: false,
        resume: true,
        signal,
      });
      const outcome = await buildAndRecord(context, work, site, mirror, node, {
        signer,
        log,
        again: options.force === true || refused,
        tests: options.tests,
        signal,
      }).finally(() => site.close());
      report.result(`${outcome}, ${signer ? 'signed and ' : ''}pushed to ${mirror.url}`);
    });
  } finally {
    await keepLog(context, log);
    if (options.cdash) await tellCdash(context, environment, work, graph, node.hash);
  }
  tell('pushed');
}

/** Where `generate` left the environment for the job. */
async function jobFolder({ env, cwd }: Context): Promise<string> {
  const given = env.SPACK_CONCRETE_ENV_DIR;
  if (given) return resolve(env.CI_PROJECT_DIR ?? cwd, given);
  const usual = resolve(cwd, 'jobs_scratch_dir/concrete_environment');
  return (await stat(usual).catch(() => undefined)) ? usual : '.';
}

function findJob(graph: JobGraph, text: string | undefined): Job {
  const hash = text?.replace(/^\//, '');
  if (!hash)
    throw new RunnerError(
      'input',
      'Which package is to be built?',
      'Give --hash HASH; in CI, SPACK_JOB_SPEC_DAG_HASH says it.',
    );
  const found = [...graph.jobs.values()].filter((job) => job.hash.startsWith(hash));
  const [only] = found;
  if (!only)
    throw new RunnerError(
      'input',
      `The lock has no package /${hash}.`,
      'stackwright graph STACK lists them.',
    );
  if (found.length > 1)
    throw new RunnerError(
      'input',
      `/${hash} stands for ${found.length} packages of the lock.`,
      'Give more of the hash.',
    );
  return only;
}

/** A key of its own would help no other job: nobody could trust it. */
async function keyNeeded(): Promise<never> {
  throw new RunnerError(
    'missing',
    'There is no key to sign with.',
    'Set SPACK_SIGNING_KEY (stackwright key create makes one), or push without signatures (--unsigned).',
  );
}

/**
 * Reports the build to the stack's CDash, where it names one. That CDash is away does not make the job fail, since all
 * that depend on it would be cancelled: what is not reported stays in the work folder for `stackwright report`.
 */
async function tellCdash(
  context: Context,
  environment: Environment,
  work: WorkFolder,
  graph: JobGraph,
  hash: string,
): Promise<void> {
  const record = (await readRecords(work)).find((one) => one.hash === hash);
  if (!record || context.signal.aborted) return;
  try {
    const target = cdashTarget(context, ciConfigOf(environment).cdash, {});
    if (!target) return;
    const report = await packageReport(context, target, graph, record, new Date(record.started));
    const { link, warnings } = await cdashClient(context, target).submit(
      report.build,
      cdashFiles(report),
      context.signal,
    );
    note(context, `CDash: ${link}`);
    for (const warning of warnings) note(context, `Warning: CDash: ${warning}`);
  } catch (error) {
    const text = withoutSecrets(describeError(error), secretsOf(context.env));
    note(
      context,
      `Warning: not reported to CDash. ${text}\nTo report it later: stackwright report STACK --work ${work.show(work.root)}`,
    );
  }
}

/** The log goes to the job's artifacts too. */
async function keepLog({ env, cwd }: Context, log: string): Promise<void> {
  const folder = env.SPACK_JOB_LOG_DIR;
  if (!folder || !(await stat(log).catch(() => undefined))) return;
  const target = resolve(env.CI_PROJECT_DIR ?? cwd, folder);
  await mkdir(target, { recursive: true });
  await copyFile(log, join(target, 'stackwright-build-out.txt'));
}
