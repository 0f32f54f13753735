import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import {
  criticalPath,
  duration,
  expectedDurations,
  externals,
  type Forecast,
  forecast,
  graphOf,
  noHistory,
  prune,
  unknownDuration,
  worthwhile,
} from '@stackwright/job-graph';
import { renderPage } from '@stackwright/report';
import { decisionStates, readHistory, readLock, stackFolder } from '@stackwright/stack';
import { InvalidArgumentError, Option } from 'commander';
import type { Define } from '../command.js';
import { type Context, note, print, printJson } from '../context.js';

interface Options {
  readonly runners: readonly number[];
  readonly history?: string;
  readonly startup: number;
  readonly failureRate: number;
  readonly retries: number;
  readonly price: number;
  readonly seed: number;
  readonly format: 'text' | 'json' | 'html';
  readonly json?: boolean;
  readonly output?: string;
}

export const define: Define = (command, context) => {
  command
    .argument('<stack>', 'folder with spack.lock')
    .option('--runners <n,n…>', 'numbers of runners to compare', counts, [1, 2, 4, 8, 16, 32, 64])
    .option(
      '--history <file>',
      'build times: our history.json, Spack\'s install_times.json, or {"name": seconds}',
    )
    .option('--startup <seconds>', 'time that a runner needs to start a job', number, 0)
    .option('--failure-rate <rate>', 'chance that an attempt fails, 0 to 1', number, 0)
    .option('--retries <n>', 'how often a failed job is tried again', number, 0)
    .option('--price <amount>', 'price of one runner for one hour', number, 0)
    .option('--seed <n>', 'seed of the random failures', number, 1)
    .addOption(new Option('--format <format>').choices(['text', 'json', 'html']).default('text'))
    .option('--json', 'the same as --format json')
    .option('-o, --output <file>', 'write to a file instead of stdout')
    .action((stack: string, options: Options) => run(context, stack, options));
};

async function run(context: Context, stack: string, options: Options): Promise<void> {
  const folder = await stackFolder(context, stack);
  const { full, graph, decisions } = prune(graphOf(await readLock(folder)), [externals]);
  const history = options.history ? await readHistory(resolve(context.cwd, options.history)) : noHistory;
  if (history.builds.length === 0) {
    note(context, `No build times are known, so each job counts ${unknownDuration} s: give --history FILE.`);
  }
  const durations = expectedDurations(graph, history);
  const rows = forecast(graph, { ...options, durations });
  const best = worthwhile(rows);
  const path = criticalPath(graph, durations);
  const work = [...durations.values()].reduce((sum, seconds) => sum + seconds, 0);
  const format = options.json ? 'json' : options.format;
  if (format === 'json' && !options.output) {
    return printJson(context, {
      jobs: graph.jobs.size,
      work,
      criticalPath: path,
      forecasts: rows,
      worthwhile: best?.runners,
    });
  }
  const shown = columns.filter(({ money }) => !money || options.price > 0);
  const summary = `${graph.jobs.size} jobs, ${duration(work)} of work, critical path ${duration(path.seconds)}.`;
  const advice = best
    ? `${best.runners} runners are worth it: ${duration(best.makespan.longest)}; more save less than a tenth.`
    : '';
  if (format === 'text') {
    const text = `${summary}\n\n${table(shown, rows)}\n${advice}\n`;
    return options.output
      ? await writeFile(resolve(context.cwd, options.output), text)
      : print(context, text);
  }
  const page = renderPage({
    title: 'How many runners are worth it',
    subtitle: summary,
    graph: full,
    states: decisionStates({ decisions }, durations),
    critical: path,
    sections: [
      {
        title: 'Runners',
        paragraphs: [advice, ...explanation.slice(0, options.price > 0 ? 2 : 1)],
        table: {
          columns: shown.map(({ title }) => ({ title, numeric: true })),
          rows: rows.map((row) => shown.map(({ text }) => text(row))),
        },
      },
    ],
  });
  return options.output ? await writeFile(resolve(context.cwd, options.output), page) : print(context, page);
}

/** What is shown of a forecast; money only where a price is known. */
const columns: readonly {
  readonly title: string;
  readonly money?: boolean;
  readonly text: (row: Forecast) => string;
}[] = [
  { title: 'Runners', text: (row) => String(row.runners) },
  { title: 'Stages', text: (row) => duration(row.makespan.stages) },
  { title: 'As ready', text: (row) => duration(row.makespan.arrival) },
  { title: 'Longest first', text: (row) => duration(row.makespan.longest) },
  { title: 'Bound', text: (row) => duration(row.bound) },
  { title: 'Busy', text: (row) => `${Math.round(row.utilisation * 100)} %` },
  { title: 'Cost', money: true, text: (row) => row.cost.toFixed(2) },
  { title: 'On demand', money: true, text: (row) => row.costOnDemand.toFixed(2) },
  {
    title: 'Failed',
    text: ({ failed, blocked }) => (failed + blocked === 0 ? '0' : `${failed} (+${blocked} blocked)`),
  },
];

const explanation = [
  'Stages: every stage waits for the one before, as without needs. As ready: first come, first served. ' +
    'Longest first: the job with the longest chain above it goes first. Bound: no schedule can be shorter.',
  'Cost is for runners that are kept from start to end, on demand for those paid only while they work.',
];

function table(shown: typeof columns, rows: readonly Forecast[]): string {
  const lines = [shown.map(({ title }) => title), ...rows.map((row) => shown.map(({ text }) => text(row)))];
  const widths = shown.map((_, at) => Math.max(...lines.map((line) => line[at]!.length)));
  return lines.map((line) => `${line.map((text, at) => text.padStart(widths[at]!)).join('  ')}\n`).join('');
}

function counts(value: string): number[] {
  const list = value.split(',').map(Number);
  if (list.length > 0 && list.every((each) => Number.isInteger(each) && each >= 1)) return list;
  throw new InvalidArgumentError('Give whole numbers from 1 on, with commas between.');
}

function number(value: string): number {
  const result = Number(value);
  if (value.trim() !== '' && Number.isFinite(result) && result >= 0) return result;
  throw new InvalidArgumentError('Give a number from 0 on.');
}
