import { openStack, specsOf } from '@stackwright/stack';
import { callerOf } from '../caller.js';
import type { Define } from '../command.js';
import { print, printJson } from '../context.js';
import { groupOption } from '../options.js';
import { loadOptions, type StackOptions, stackOptions } from '../stack-options.js';

export const define: Define = (command, context) => {
  stackOptions(command)
    .argument('<stack>', 'folder with spack.yaml')
    .addOption(groupOption('only the specs of this group'))
    .option('--json', 'print JSON')
    .action(async (argument: string, options: StackOptions & { json?: boolean; group: string[] }) => {
      const stack = await openStack(callerOf(context), argument, {
        ...loadOptions(options, context),
        includes: 'cached',
      });
      const environment = await stack.environment();
      const specs = specsOf(environment, options.group);
      if (options.json)
        printJson(context, { specs: specs.map(({ text, group }) => ({ spec: text, group })) });
      else for (const { text } of specs) print(context, `${text}\n`);
    });
};
