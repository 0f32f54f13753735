import { availableParallelism } from 'node:os';
import { type RunOptions, type RunSummary, runStack } from '@stackwright/stack';
import { type BuilderOptions, builderOf, openGroups } from '../builder.js';
import type { Define } from '../command.js';
import { note, print, printJson } from '../context.js';
import {
  allowOption,
  collect,
  groupOption,
  limitOptions,
  maxAgeOption,
  notBeforeOption,
  offlineOption,
  plainOption,
  positive,
  sandboxOption,
  testsOption,
} from '../options.js';
import { runText } from '../run-text.js';
import { spackOptions } from '../stack-options.js';

export const define: Define = (command, context) => {
  limitOptions(spackOptions(command))
    .argument('<stack>', 'folder with spack.yaml')
    .option(
      '--mirror <url>',
      "build cache to read from and write to (default: the stack's own mirror, or one in the work folder)",
    )
    .addOption(offlineOption())
    .addOption(allowOption())
    .option('--stale', 'go on although spack.lock lacks roots of spack.yaml, or has others')
    .addOption(groupOption('build this group and what it needs only, and have the image hold it'))
    .option('-j, --jobs <n>', 'packages built at a time', positive, Math.min(availableParallelism(), 4))
    .addOption(testsOption())
    .option('--fail-fast', 'start no more builds after the first failure')
    .option('--rebuild', 'build everything, whatever the mirror has')
    .option('--resume', 'resume an interrupted or failed run, reusing what it installed')
    .option('--trust <file>', 'public key whose signatures count (repeatable)', collect, [])
    .option('--unsigned', 'take and push packages without signatures')
    .addOption(notBeforeOption())
    .addOption(maxAgeOption())
    .option('--base <image>', 'image to build on: scratch, oci:FOLDER[:TAG], or a reference')
    .option('--install-root <folder>', 'where packages lie in the image (default: where they were built)')
    .addOption(sandboxOption())
    .option('--work <folder>', 'folder for all files of the run (default: .stackwright/STACK)')
    .addOption(plainOption())
    .option('--json', 'print a summary as JSON')
    .action(async (argument: string, options: RunOptions & BuilderOptions) => {
      const caller = builderOf(context, options);
      const stack = await openGroups(caller, argument, options);
      const onEnd = (ended: RunSummary) => {
        if (!options.json) note(context, `\n${runText(ended)}`);
      };
      const summary = await runStack(caller, stack, { ...options, onEnd });
      if (options.json) return printJson(context, summary);
      const show = (path: string) =>
        path.startsWith(`${context.cwd}/`) ? path.slice(context.cwd.length + 1) : path;
      note(context, '');
      print(context, `image    oci:${show(summary.image.path)}:${summary.image.tag}`);
      print(context, `digest   ${summary.image.digest}`);
      print(
        context,
        `mirror   ${summary.mirror.startsWith('file://') ? show(summary.mirror.slice(7)) : summary.mirror}`,
      );
      print(context, `pipeline ${show(summary.pipeline)}`);
      print(context, `report   ${show(summary.report)}`);
    });
};
