import { commandText, openReproduction, repeatFailure, reproductionCommand } from '@stackwright/stack';
import { callerOf } from '../caller.js';
import type { Define } from '../command.js';
import { print, printJson } from '../context.js';
import { RunnerError } from '../exit.js';
import { plainOption } from '../options.js';

export const define: Define = (command, context) => {
  command
    .argument('<place>', 'what a failed job left: a folder, a zip archive, or the URL of one')
    .option('--run', 'repeat the build instead of printing how')
    .option('--shell', 'repeat the build and start a shell in its stage')
    .addOption(plainOption())
    .option('--json', 'print the description as JSON')
    .action(
      async (place: string, options: { run?: boolean; shell?: boolean; plain?: boolean; json?: boolean }) => {
        const caller = callerOf(context, options);
        const found = await openReproduction(caller, place);
        const { name, packageVersion, hash, failure, spack, image } = found;
        const title = `${name}@${packageVersion}/${hash.slice(0, 7)}`;
        if (options.run || options.shell) {
          const failed = await repeatFailure(caller, found, options);
          if (failed) throw new RunnerError('some-failed', `${title} failed again.`);
          return print(context, `${title} was built: the failure did not repeat.`);
        }
        const command = commandText(reproductionCommand(found));
        if (options.json) return printJson(context, { ...found, command });
        print(
          context,
          [
            `${title} failed${failure ? ` (${failure.kind}): ${failure.message}` : '.'}`,
            `Spack ${spack.version}${spack.commit ? ` (${spack.commit})` : ''}${image ? `, image ${image}` : ''}`,
            '',
            `Repeat it:              ${command}`,
            `With a shell in it:     ${commandText(reproductionCommand(found, { shell: true }))}`,
          ].join('\n'),
        );
      },
    );
};
