import { concretize, openStack } from '@stackwright/stack';
import type { Define } from '../command.js';
import { callerOf, print, printJson } from '../context.js';
import { includeRule, offlineOption } from '../options.js';

export const define: Define = (command, context) => {
  command
    .argument('<stack>', 'folder with spack.yaml')
    .option('-f, --force', 'concretize again what is concrete already')
    .addOption(offlineOption())
    .option('--json', 'print the roots as JSON')
    .action(async (argument: string, options: { force?: boolean; json?: boolean; offline?: boolean }) => {
      const caller = callerOf(context, { quiet: options.json });
      const stack = await openStack(caller, argument, { includes: includeRule(options) });
      const { roots, nodes } = await concretize(caller, stack, options);
      if (options.json) printJson(context, { roots });
      else print(context, `${stack.folder}/spack.lock: ${roots.length} roots, ${nodes.size} specs`);
    });
};
