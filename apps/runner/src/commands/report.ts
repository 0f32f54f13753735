import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { describe } from '@stackwright/buildcache';
import { type CdashClient, CdashError, cdashFiles } from '@stackwright/cdash';
import { duration, graphOf, type JobGraph } from '@stackwright/job-graph';
import { ciConfigOf } from '../ci-config.js';
import type { Define } from '../command.js';
import { type Context, note, print, printJson } from '../context.js';
import { describeError, RunnerError } from '../exit.js';
import {
  type CdashOptions,
  type CdashTarget,
  cdashClient,
  cdashTarget,
  packageReport,
} from '../report/cdash.js';
import { commitTarget, setCommitStatus } from '../report/commit-status.js';
import { type BuildRecord, readRecords } from '../report/record.js';
import { openWork } from '../run/work.js';
import { openStack, readEnvironment, readLock } from '../stack.js';

interface Options extends CdashOptions {
  readonly work?: string;
  readonly write?: string;
  readonly status: boolean;
  readonly link?: string;
  readonly json?: boolean;
}

export const define: Define = (command, context) => {
  command
    .argument('<stack>', 'folder with spack.yaml and spack.lock')
    .option('--cdash <url>', "CDash's address (cdash:url)")
    .option('--project <name>', 'project there (cdash:project)')
    .option('--site <name>', 'who reports (cdash:site, else the name of this machine)')
    .option('--group <name>', 'build group (cdash:build-group)')
    .option('--write <folder>', 'write the files for CDash there instead of sending them')
    .option('--no-status', 'put no status on the commit')
    .option('--link <url>', 'page that the commit status leads to (in CI: the pipeline)')
    .option('--work <folder>', 'where the run left its files (.stackwright/STACK)')
    .option('--json', 'print {"builds": [{"hash","name","version","outcome","seconds","link"}]}')
    .addHelpText(
      'after',
      `
CDASH_AUTH_TOKEN (or SPACK_CDASH_AUTH_TOKEN) is the token for CDash. The commit
is that of the CI job; GITHUB_TOKEN, or GITLAB_TOKEN, allows the status.`,
    )
    .action((stack: string, options: Options) => report(context, stack, options));
};

async function report(context: Context, argument: string, options: Options): Promise<void> {
  const stack = await openStack(context, argument);
  const work = await openWork(context, stack, options.work);
  const graph = graphOf(await readLock(stack.folder));
  const records = (await readRecords(work)).filter(({ hash }) => graph.jobs.has(hash));
  // A run leaves its page also when all was up to date.
  if (records.length === 0 && !existsSync(work.report)) {
    throw new RunnerError(
      'input',
      `${work.show(work.root)} has no builds to report.`,
      'stackwright run and stackwright rebuild leave them there (--work).',
    );
  }
  const config = ciConfigOf(await readEnvironment(context, stack.folder));
  const target = cdashTarget(context, config.cdash, options);
  const commit = options.status ? commitTarget(context.env) : undefined;
  if (!target && !commit) {
    throw new RunnerError(
      'input',
      'There is nobody to report to.',
      'Name a CDash (section cdash with url, project and build-group in spack.yaml, or --cdash, --project and\n--group), or run in a job of GitHub (GITHUB_TOKEN) or GitLab (GITLAB_TOKEN).',
    );
  }
  const links =
    target && records.length > 0
      ? await toCdash(context, target, graph, records, options)
      : new Map<string, string>();
  if (commit) {
    const description = summarize(graph, records);
    const link = options.link ?? context.env.CI_PIPELINE_URL ?? actionsPage(context.env);
    await setCommitStatus(
      commit,
      {
        state: records.some(({ outcome }) => outcome === 'failed') ? 'failure' : 'success',
        context: `stackwright/${stack.name}`,
        description,
        ...(link ? { link } : {}),
      },
      context.signal,
    );
    note(context, `Status on ${commit.commit.slice(0, 10)} at ${commit.forge}: ${description}`);
  }
  if (options.json) {
    printJson(context, {
      builds: records.map(({ hash, outcome, seconds }) => {
        const { name, version } = graph.jobs.get(hash)!.node;
        return {
          hash,
          name,
          version,
          outcome,
          seconds,
          ...(links.has(hash) ? { link: links.get(hash) } : {}),
        };
      }),
    });
  }
}

/** Sends, or writes, each build. Goes on after a failure. @returns the page of each build that was sent */
async function toCdash(
  context: Context,
  target: CdashTarget,
  graph: JobGraph,
  records: readonly BuildRecord[],
  options: Options,
): Promise<Map<string, string>> {
  const { signal, cwd } = context;
  const client = cdashClient(context, target);
  const first = new Date(records[0]!.started);
  const links = new Map<string, string>();
  const failed: string[] = [];
  if (!options.write) await makeGroup(context, client, target);
  for (const record of records) {
    const { node } = graph.jobs.get(record.hash)!;
    const title = describe(node);
    const full = await packageReport(context, target, graph, record, first);
    if (options.write) {
      const folder = join(resolve(cwd, options.write), `${node.name}-${record.hash}`);
      await mkdir(folder, { recursive: true });
      for (const { kind, text } of cdashFiles(full)) await writeFile(join(folder, `${kind}.xml`), text);
      if (!options.json) print(context, folder);
      continue;
    }
    try {
      const { link, warnings } = await client.submit(full.build, cdashFiles(full), signal);
      links.set(record.hash, link);
      if (!options.json) print(context, `${title} ${record.outcome}: ${link}`);
      for (const warning of warnings) note(context, `Warning: ${title}: ${warning}`);
    } catch (error) {
      signal.throwIfAborted();
      failed.push(`${title}: ${describeError(error)}`);
      // The next one would be told the same.
      if (error instanceof CdashError && ['denied', 'no-project', 'unavailable'].includes(error.code))
        throw error;
    }
  }
  if (failed.length > 0) {
    throw new RunnerError(
      'failed',
      `${failed.length} of ${records.length} builds were not reported:\n${failed.join('\n')}`,
    );
  }
  return links;
}

/** Builds of a group that CDash lacks go to Experimental; who may not create it is told so. */
async function makeGroup(context: Context, client: CdashClient, target: CdashTarget): Promise<void> {
  try {
    await client.createGroup(target.project, target.group, context.signal);
  } catch (error) {
    if (!(error instanceof CdashError) || error.code !== 'denied') throw error;
    note(context, `Warning: ${error.message}\nUnless it is there, builds go to the group Experimental.`);
  }
}

function summarize(graph: JobGraph, records: readonly BuildRecord[]): string {
  if (records.length === 0) return 'nothing had to be built';
  const bad = records.filter(({ outcome }) => outcome === 'failed');
  const seconds = records.reduce((sum, record) => sum + record.seconds, 0);
  const built = `${records.length - bad.length} built in ${duration(seconds)}`;
  const names = bad.map(({ hash }) => graph.jobs.get(hash)!.node.name);
  return bad.length === 0 ? built : `${bad.length} failed (${names.join(', ')}), ${built}`;
}

function actionsPage(env: NodeJS.ProcessEnv): string | undefined {
  const { GITHUB_SERVER_URL: server, GITHUB_REPOSITORY: repository, GITHUB_RUN_ID: run } = env;
  return server && repository && run ? `${server}/${repository}/actions/runs/${run}` : undefined;
}
