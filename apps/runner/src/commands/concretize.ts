import { Spack } from '@stackwright/spack';
import type { Define } from '../command.js';
import { print, printJson } from '../context.js';
import { progressFor } from '../progress.js';
import { environmentWithoutSecrets } from '../secrets.js';
import { openStack, readLock } from '../stack.js';

export const define: Define = (command, context) => {
  command
    .argument('<stack>', 'folder with spack.yaml')
    .option('-f, --force', 'decide anew about what is concrete already')
    .option('--json', 'print the roots as JSON')
    .action(async (argument: string, options: { force?: boolean; json?: boolean }) => {
      const stack = await openStack(context, argument);
      const progress = progressFor(context, { quiet: options.json });
      const env = environmentWithoutSecrets(context.env);
      const spack = await Spack.require('concretize', { env, signal: context.signal });
      await progress.phase(`Concretize ${stack.name} with Spack ${spack.version}`, ({ update }) =>
        spack.concretize(stack.folder, { force: options.force, onLine: update, signal: context.signal }),
      );
      const { roots, nodes } = await readLock(stack.folder);
      if (options.json) printJson(context, { roots });
      else print(context, `${stack.folder}/spack.lock: ${roots.length} roots, ${nodes.size} specs`);
    });
};
