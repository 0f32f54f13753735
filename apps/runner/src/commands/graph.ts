import { readFile, writeFile } from 'node:fs/promises';
import { basename, resolve } from 'node:path';
import {
  criticalPath,
  duration,
  expectedDurations,
  externals,
  graphOf,
  type History,
  type Job,
  type JobState,
  listingOf,
  noHistory,
  only,
  type Pruned,
  type Pruner,
  parseHistory,
  prune,
  renderPage,
  skip,
  toDot,
  toMermaid,
  toText,
  upToDate,
} from '@stackwright/job-graph';
import { Option } from 'commander';
import { mirrorUrl } from '../ci-config.js';
import type { Define } from '../command.js';
import { type Context, note, print, printJson } from '../context.js';
import { RunnerError } from '../exit.js';
import { readMirrorStates } from '../mirror-state.js';
import { openStack, readLock } from '../stack.js';

interface Options {
  readonly format: 'text' | 'json' | 'dot' | 'mermaid' | 'html';
  readonly json?: boolean;
  readonly output?: string;
  readonly only: readonly string[];
  readonly skip: readonly string[];
  readonly pruneExternals: boolean;
  readonly mirror: readonly string[];
  readonly checkIndexOnly?: boolean;
  readonly history?: string;
}

export const define: Define = (command, context) => {
  command
    .argument('<stack>', 'folder with spack.yaml and spack.lock')
    .addOption(
      new Option('--format <format>', 'what to print')
        .choices(['text', 'json', 'dot', 'mermaid', 'html'])
        .default('text'),
    )
    .option('--json', 'the same as --format json')
    .option('-o, --output <file>', 'write to a file instead of stdout')
    .option('--only <name>', 'only these packages or /hashes (repeatable)', collect, [])
    .option('--skip <name>', 'not these packages or /hashes (repeatable)', collect, [])
    .option('--no-prune-externals', 'jobs for externals too')
    .option('--mirror <url>', 'leave out what this mirror has (repeatable)', collect, [])
    .option('--check-index-only', 'believe the indexes of the mirrors')
    .option('--history <file>', "build times: our history.json or Spack's install_times.json")
    .action((stack: string, options: Options) => run(context, stack, options));
};

async function run(context: Context, stack: string, options: Options): Promise<void> {
  const { folder, settings } = await openStack(context, stack);
  const full = graphOf(await readLock(folder));
  const pruners: Pruner[] = [];
  if (options.pruneExternals) pruners.push(externals);
  if (options.mirror.length > 0) {
    const mirrors = options.mirror.map((text) => {
      const url = mirrorUrl(text, context.cwd);
      return { name: url, fetch: url, push: url, signed: settings.trust.length > 0 };
    });
    const { locations } = await readMirrorStates(context, mirrors, [...full.jobs.values()], {
      indexOnly: options.checkIndexOnly === true,
      trust: settings.trust,
      folder,
    });
    pruners.push(upToDate((job) => locations.get(job.hash)));
  }
  if (options.only.length > 0) pruners.push(only(matcher(options.only, [...full.jobs.values()])));
  if (options.skip.length > 0) pruners.push(skip(matcher(options.skip, [...full.jobs.values()])));
  const pruned = prune(full, pruners);
  const format = options.json ? 'json' : options.format;
  if (format === 'json' && !options.output) return printJson(context, listingOf(pruned));
  const text = render(format, pruned, basename(folder), await readHistory(context, options.history));
  if (!options.output) return print(context, text);
  await writeFile(resolve(context.cwd, options.output), text);
  note(context, `Wrote ${options.output}: ${pruned.graph.jobs.size} of ${full.jobs.size} to build.`);
}

function render(format: Options['format'], pruned: Pruned, name: string, history: History): string {
  switch (format) {
    case 'text':
      return toText(pruned);
    case 'dot':
      return toDot(listingOf(pruned));
    case 'mermaid':
      return toMermaid(listingOf(pruned));
    case 'json':
      return `${JSON.stringify(listingOf(pruned), null, 2)}\n`;
    case 'html':
      return page(pruned, name, history);
  }
}

function page(pruned: Pruned, name: string, history: History): string {
  const durations = expectedDurations(pruned.graph, history);
  const known = history.builds.length > 0;
  const states = new Map(
    [...pruned.decisions].map(([hash, { action, reason }]): [string, JobState] => [
      hash,
      { state: action, note: reason, seconds: known ? durations.get(hash) : undefined },
    ]),
  );
  const critical = criticalPath(pruned.graph, durations);
  const time = known ? `, at least ${duration(critical.seconds)}` : ' (no build times known)';
  return renderPage({
    title: `Jobs of ${name}`,
    subtitle: `${pruned.graph.jobs.size} of ${pruned.full.jobs.size} to build${time}`,
    graph: pruned.full,
    states,
    critical: known ? critical : { jobs: critical.jobs },
  });
}

async function readHistory(context: Context, file: string | undefined): Promise<History> {
  if (!file) return noHistory;
  return parseHistory(await readFile(resolve(context.cwd, file), 'utf8'), file);
}

/** `NAME`, `NAME@VERSION` or `/HASH` (its start) each; a pattern that matches nothing is an error. */
function matcher(patterns: readonly string[], jobs: readonly Job[]): (job: Job) => boolean {
  const tests = patterns.map((pattern) => (job: Job) => {
    if (pattern.startsWith('/')) return job.hash.startsWith(pattern.slice(1));
    return pattern === job.node.name || pattern === `${job.node.name}@${job.node.version}`;
  });
  for (const [at, test] of tests.entries()) {
    if (jobs.some(test)) continue;
    throw new RunnerError(
      'input',
      `${patterns[at]}: no spec of the lock matches.`,
      'Give a NAME, NAME@VERSION or /HASH.',
    );
  }
  return (job) => tests.some((test) => test(job));
}

function collect(value: string, all: readonly string[]): string[] {
  return [...all, ...value.split(',').filter(Boolean)];
}
