import { readdir, stat } from 'node:fs/promises';
import { arch, hostname, release, type } from 'node:os';
import { join } from 'node:path';
import { CdashClient, type PackageReport, type TestResult } from '@stackwright/cdash';
import { buildStamp, cdashBuildName, compilerOf, type JobGraph } from '@stackwright/job-graph';
import type { ConcreteNode } from '@stackwright/spack-env';
import type { Caller } from './caller.js';
import { credential } from './credentials.js';
import { StackError } from './error.js';
import { readLog, readTests } from './log.js';
import type { BuildRecord } from './record.js';
import { secretsOf } from './secrets.js';
import { version } from './version.js';
import type { WorkFolder } from './work.js';

export interface CdashOptions {
  /** CDash's address. */
  readonly cdash?: string;
  readonly project?: string;
  readonly site?: string;
  readonly group?: string;
}

/** Where builds are reported to, and as what. */
export interface CdashTarget {
  readonly url: string;
  readonly project: string;
  readonly site: string;
  readonly group: string;
  /** Who named the address. */
  readonly namedBy: 'stack' | 'user';
}

/**
 * The CDash of options, else of the section `cdash` of `spack.yaml`.
 * @returns undefined when nobody names one, or no group: as with Spack, jobs then do not report
 * @throws StackError when the section is incomplete
 */
export function cdashTarget(
  { env }: Pick<Caller, 'env'>,
  section: Readonly<Record<string, unknown>> | undefined,
  options: CdashOptions,
): CdashTarget | undefined {
  const text = (name: string) =>
    typeof section?.[name] === 'string' ? (section[name] as string) : undefined;
  const url = options.cdash ?? text('url');
  const group = options.group ?? text('build-group');
  if (!url || !group) return undefined;
  const project = options.project ?? text('project');
  if (!project) {
    throw new StackError('bad-value', 'The stack names a CDash, but no project there.', {
      hint: 'Set cdash:project in spack.yaml, or give --project NAME.',
    });
  }
  const runner = env.CI_RUNNER_DESCRIPTION;
  const site = options.site ?? `${text('site') ?? hostname()}${runner ? ` (${runner})` : ''}`;
  return { url, project, site, group, namedBy: options.cdash === undefined ? 'stack' : 'user' };
}

/** @throws StackError `credential` where CDash may not have the token */
export function cdashClient(
  { env }: Pick<Caller, 'env'>,
  { url, namedBy }: Pick<CdashTarget, 'url' | 'namedBy'>,
): CdashClient {
  if (!URL.canParse(url)) return new CdashClient({ url });
  const name = env.CDASH_AUTH_TOKEN ? 'CDASH_AUTH_TOKEN' : 'SPACK_CDASH_AUTH_TOKEN';
  return new CdashClient({ url, token: credential(env, name, { url: new URL(url), as: 'header', namedBy }) });
}

/** A build that was made, or one that was not: another package failed, or the run was stopped. */
export type ReportedRecord =
  | BuildRecord
  | (Pick<BuildRecord, 'hash' | 'started' | 'seconds' | 'failure'> & {
      readonly outcome: 'blocked' | 'skipped';
      readonly log?: undefined;
      readonly times?: undefined;
    });

/**
 * What CDash gets to know of one build.
 * @param first when the first build of the run started: all of a run have one stamp
 */
export async function packageReport(
  { env, note }: Pick<Caller, 'env' | 'note'>,
  target: CdashTarget,
  graph: JobGraph,
  work: WorkFolder,
  record: ReportedRecord,
  first: Date,
): Promise<PackageReport> {
  const { node } = graph.jobs.get(record.hash)!;
  const compiler = compilerOf(node, (hash) => graph.jobs.get(hash)?.node);
  const secrets = secretsOf(env);
  const { log, packed, tests, unread } = await readLog(record.log, {
    secrets,
    // Before it stands what Spack built or fetched for it.
    start: `==> Installing ${node.name}-${node.version}-${node.hash}`,
  });
  if (unread) note(`Warning: ${unread}`);
  return {
    build: {
      project: target.project,
      site: target.site,
      name:
        (env.SPACK_JOB_SPEC_DAG_HASH === record.hash && env.SPACK_CDASH_BUILD_NAME) ||
        cdashBuildName(graph, record.hash, target.group),
      stamp: buildStamp(env, target.group, first),
    },
    generator: `stackwright ${version()}`,
    host: {
      name: hostname(),
      system: type(),
      release: release(),
      platform: arch() === 'x64' ? 'x86_64' : arch() === 'arm64' ? 'aarch64' : arch(),
      target: node.arch.target,
      compiler,
    },
    started: new Date(record.started),
    seconds: record.seconds,
    outcome: record.outcome,
    failure: record.failure,
    command: `stackwright rebuild --hash ${record.hash}`,
    log,
    tests: record.log === undefined ? [] : [...tests, ...(await standAloneTests(work, node, secrets))],
    times: record.times,
    revision: env.CI_COMMIT_SHA || env.GITHUB_SHA || env.SOURCE_COMMIT,
    labels: [node.name],
    attachments: packed ? [{ name: 'spack-build-out.txt.gz', content: packed }] : [],
  };
}

/** The stand-alone tests that a package's last run of them left: `tests/SUITE/NAME-VERSION-HASH-test-out.txt`. */
async function standAloneTests(
  work: WorkFolder,
  { name, version: release, hash }: ConcreteNode,
  secrets: readonly string[],
): Promise<TestResult[]> {
  const file = `${name}-${release}-${hash.slice(0, 7)}-test-out.txt`;
  const names = await readdir(work.tests, { recursive: true }).catch((error: NodeJS.ErrnoException) => {
    // Nothing was tested.
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  const found = names.filter((one) => one.endsWith(`/${file}`) || one === file);
  const all = await Promise.all(
    found.map(async (one) => {
      const path = join(work.tests, one);
      return { path, at: (await stat(path)).mtimeMs };
    }),
  );
  const last = all.sort((a, b) => b.at - a.at)[0];
  return last ? readTests(last.path, secrets) : [];
}
