import { concretize, openStack } from '@stackwright/stack';
import { callerOf } from '../caller.js';
import type { Define } from '../command.js';
import { print, printJson } from '../context.js';
import { includeRule, offlineOption } from '../options.js';
import { type SpackOptions, spackOptions, withSpack } from '../stack-options.js';

export const define: Define = (command, context) => {
  spackOptions(command)
    .argument('<stack>', 'folder with spack.yaml')
    .option('-f, --force', 'concretize again what is concrete already')
    .addOption(offlineOption())
    .option('--json', 'print the roots as JSON')
    .action(
      async (
        argument: string,
        options: { force?: boolean; json?: boolean; offline?: boolean } & SpackOptions,
      ) => {
        const caller = callerOf(withSpack(context, options), { quiet: options.json });
        const stack = await openStack(caller, argument, { includes: includeRule(options) });
        const { roots, nodes } = await concretize(caller, stack, options);
        if (options.json) printJson(context, { roots });
        else print(context, `${stack.folder}/spack.lock: ${roots.length} roots, ${nodes.size} specs`);
      },
    );
};
