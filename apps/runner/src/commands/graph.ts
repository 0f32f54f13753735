import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { listingOf, noHistory, type Pruned, toDot, toMermaid, toText } from '@stackwright/job-graph';
import { graphPage, inGroups, jobsOf, openStack, readHistory } from '@stackwright/stack';
import { Option } from 'commander';
import { callerOf } from '../caller.js';
import type { Define } from '../command.js';
import { note, print, printJson } from '../context.js';
import { collect, groupOption } from '../options.js';

type Format = 'text' | 'json' | 'dot' | 'mermaid' | 'html';

interface Options {
  readonly format: Format;
  readonly json?: boolean;
  readonly output?: string;
  readonly only: readonly string[];
  readonly skip: readonly string[];
  readonly group: readonly string[];
  readonly pruneExternals: boolean;
  readonly mirror: readonly string[];
  readonly trust: readonly string[];
  readonly unsigned?: boolean;
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
    .addOption(groupOption('only this group and what it needs'))
    .option('--only <name>', 'only these packages or /hashes (repeatable)', collectNames, [])
    .option('--skip <name>', 'not these packages or /hashes (repeatable)', collectNames, [])
    .option('--no-prune-externals', 'jobs for externals too')
    .option('--mirror <url>', 'leave out what this mirror has (repeatable)', collectNames, [])
    .option('--trust <file>', 'public key whose signatures count (repeatable)', collect, [])
    .option('--unsigned', 'count packages without signatures too')
    .option('--check-index-only', 'believe the indexes of the mirrors')
    .option('--history <file>', "build times: our history.json or Spack's install_times.json")
    .action(async (argument: string, options: Options) => {
      const caller = callerOf(context);
      const stack = inGroups(await openStack(caller, argument, { includes: 'cached' }), options.group);
      const pruned = await jobsOf(caller, stack, {
        ...options,
        mirrors: options.mirror,
        indexOnly: options.checkIndexOnly,
      });
      const format = options.json ? 'json' : options.format;
      if (format === 'json' && !options.output) return printJson(context, listingOf(pruned));
      const history = options.history ? await readHistory(resolve(context.cwd, options.history)) : noHistory;
      const text = format === 'html' ? graphPage(pruned, stack.name, history) : textOf(format, pruned);
      if (!options.output) return print(context, text);
      await writeFile(resolve(context.cwd, options.output), text);
      note(
        context,
        `Wrote ${options.output}: ${pruned.graph.jobs.size} of ${pruned.full.jobs.size} to build.`,
      );
    });
};

function textOf(format: Exclude<Format, 'html'>, pruned: Pruned): string {
  switch (format) {
    case 'text':
      return toText(pruned);
    case 'dot':
      return toDot(listingOf(pruned));
    case 'mermaid':
      return toMermaid(listingOf(pruned));
    case 'json':
      return `${JSON.stringify(listingOf(pruned), null, 2)}\n`;
  }
}

function collectNames(value: string, all: readonly string[]): string[] {
  return [...all, ...value.split(',').filter(Boolean)];
}
