import { engines, type Flags, type Pruned } from '@stackwright/job-graph';
import { causeText, generatePipeline, inGroups, openStack } from '@stackwright/stack';
import { Option } from 'commander';
import { callerOf } from '../caller.js';
import type { Define } from '../command.js';
import { type Context, note, printJson } from '../context.js';
import {
  type AllowOptions,
  allowOption,
  collect,
  groupOption,
  includeRule,
  offlineOption,
  olderName,
  withAllowed,
} from '../options.js';
import { loadOptions, type SpackOptions, spackOptions, withSpack } from '../stack-options.js';

/** First causes that are told; `why` tells them all. */
const shownCauses = 5;

interface Options extends Omit<Flags, 'forwardVariables'>, SpackOptions, AllowOptions {
  readonly platform?: string;
  readonly os?: string;
  readonly engine?: string;
  readonly output?: string;
  readonly group: readonly string[];
  readonly stale?: boolean;
  readonly offline?: boolean;
  readonly forwardVariable: readonly string[];
  readonly json?: boolean;
}

export const define: Define = (command, context) => {
  const choices = Object.keys(engines);
  spackOptions(command)
    .argument('[stack]', 'folder with spack.yaml and spack.lock', '.')
    .addOption(new Option('--engine <name>', 'the engine to write for').choices(choices))
    .option('-o, --output <file>', 'where the pipeline goes (default for GitLab: .gitlab-ci.yml)')
    .addOption(offlineOption())
    .addOption(allowOption())
    .option('--stale', 'go on although spack.lock lacks roots of spack.yaml, or has others')
    .addOption(groupOption('jobs for this group and what it needs only'))
    .option('--prune-dag', 'no jobs for specs that are up to date on a mirror (default)')
    .option('--no-prune-dag', 'jobs for specs that are up to date too')
    .option('--prune-unaffected', 'no jobs for specs that the last commit does not affect')
    .option('--no-prune-unaffected', 'jobs for specs that the last commit does not affect too (default)')
    .option('--prune-externals', 'no jobs for externals (default)')
    .option('--no-prune-externals', 'jobs for externals too')
    .option('--check-index-only', 'believe the indexes of the mirrors')
    .option('--artifacts-root <folder>', 'where jobs leave their artifacts (default: jobs_scratch_dir)')
    .option('--forward-variable <name>', 'hand a variable on to the jobs (repeatable)', collect, [])
    .option('--platform <name>', 'read the stack as on this platform (linux, darwin, windows)')
    .option('--os <name>', 'read the stack as on this operating system (debian12, rhel9)')
    .option('--json', 'print what was written as JSON')
    .action((stack: string, options: Options) =>
      run(withAllowed(withSpack(context, options), options), stack, options),
    );
  olderName(command, new Option('--target <engine>').choices(choices), 'engine');
  // The name that `spack ci generate` has for it.
  olderName(command, new Option('--output-file <file>'), 'output');
  // Accepted so that command lines written for Spack work: the lock is concrete already.
  for (const flag of [
    '-f, --force',
    '-U, --fresh',
    '--reuse',
    '--fresh-roots',
    '--reuse-deps',
    '--deprecated',
  ]) {
    command.addOption(new Option(flag).hideHelp());
  }
  command.addOption(new Option('-j, --jobs <n>').hideHelp());
};

async function run(context: Context, argument: string, options: Options): Promise<void> {
  const caller = callerOf(context);
  const { platform, os } = options;
  const opened = await openStack(caller, argument, {
    ...loadOptions({ platform, os }, context),
    includes: includeRule(options),
  });
  const stack = inGroups(opened, options.group);
  const done = await generatePipeline(
    caller,
    stack,
    {
      flags: { ...options, forwardVariables: options.forwardVariable },
      engine: options.engine,
      output: options.output,
      stale: options.stale,
    },
    (pruned, warnings, causes) => {
      for (const warning of warnings) note(context, `Warning: ${warning}`);
      note(context, decisionsOf(pruned));
      for (const cause of causes.slice(0, shownCauses)) note(context, causeText(cause));
      if (causes.length > shownCauses)
        note(context, `and ${causes.length - shownCauses} more: stackwright why`);
    },
  );
  const { engine, files, pruned, copies, downstream } = done;
  const jobs = pruned.graph.jobs.size;
  if (downstream) {
    return note(
      context,
      `Pushed ${jobs} jobs to the branch ${downstream.branch} downstream: ${downstream.commit}.`,
    );
  }
  if (copies) note(context, `Wrote ${copies.path}: what a later job is to copy to ${copies.to}.`);
  if (options.json) printJson(context, { target: engine, files, jobs });
  else note(context, `Wrote ${files.join(', ')}: ${jobs} of ${pruned.full.jobs.size} specs to build.`);
}

/** A line for each spec: whether it is built, and why. */
function decisionsOf({ full, decisions }: Pruned): string {
  const lines = [...full.jobs.values()].map(({ hash, node }) => {
    const { action, reason } = decisions.get(hash)!;
    return `${action === 'build' ? '[x]' : ' - '} ${node.name}@${node.version}/${hash.slice(0, 7)}  ${reason}`;
  });
  return lines.join('\n');
}
