import { availableParallelism } from 'node:os';
import { InvalidArgumentError } from 'commander';
import type { Define } from '../command.js';
import { note, print, printJson } from '../context.js';
import { collect } from '../options.js';
import { type RunOptions, runStack } from '../run/run.js';

export const define: Define = (command, context) => {
  command
    .argument('<stack>', 'folder with spack.yaml')
    .option('--mirror <url>', "build cache to read and write (the stack's own, or one in the work folder)")
    .option('-j, --jobs <n>', 'packages built at a time', positive, Math.min(availableParallelism(), 4))
    .option('--rebuild', 'build everything, whatever the mirror has')
    .option('--resume', 'go on with what an interrupted or failed run installed')
    .option('--trust <file>', 'public key whose signatures count (repeatable)', collect, [])
    .option('--unsigned', 'take and push packages without signatures')
    .option('--base <image>', 'image to build on: scratch, oci:FOLDER[:TAG], or a reference')
    .option('--install-root <folder>', 'where packages lie in the image (where they were built)')
    .option('--work <folder>', 'where all files of the run go (.stackwright/STACK)')
    .option('--json', 'print a summary as JSON')
    .action(async (stack: string, options: RunOptions) => {
      const summary = await runStack(context, stack, options);
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

function positive(text: string): number {
  if (!/^[1-9]\d{0,3}$/.test(text))
    throw new InvalidArgumentError('It has to be a whole number from 1 to 9999.');
  return Number(text);
}
