import {
  failureIn,
  jobFolder,
  type RebuildOptions,
  rebuild,
  recordFailure,
  secretsOf,
} from '@stackwright/stack';
import { type BuilderOptions, builderOf, openGroups } from '../builder.js';
import type { Define } from '../command.js';
import { note, print, printJson } from '../context.js';
import { failureDetails } from '../failure-text.js';
import {
  allowOption,
  collect,
  groupOption,
  limitOptions,
  offlineOption,
  plainOption,
  sandboxOption,
  testsOption,
} from '../options.js';
import { spackOptions } from '../stack-options.js';

export const define: Define = (command, context) => {
  limitOptions(spackOptions(command))
    .argument('[stack]', 'folder with spack.yaml and spack.lock (in CI: $SPACK_CONCRETE_ENV_DIR)')
    .addOption(offlineOption())
    .addOption(allowOption())
    .addOption(groupOption('look for the package in this group and what it needs only'))
    .option('--hash <hash>', 'the package to build (in CI: $SPACK_JOB_SPEC_DAG_HASH)')
    .option('--mirror <url>', "build cache to read from and write to (default: the stack's own mirror)")
    .option('-f, --force', 'build the package even if the mirror has it')
    .addOption(testsOption())
    .option('--trust <file>', 'public key whose signatures count (repeatable)', collect, [])
    .option('--unsigned', 'take and push packages without signatures')
    .option('--no-cdash', "do not report to the stack's CDash")
    .addOption(sandboxOption())
    .option('--work <folder>', 'folder for logs and state (default: .stackwright/STACK)')
    .addOption(plainOption())
    .option('--json', 'print what was done as JSON')
    .action(async (argument: string | undefined, options: RebuildOptions & BuilderOptions) => {
      const caller = builderOf(context, options);
      const stack = await openGroups(caller, argument ?? (await jobFolder(caller)), options);
      const done = await rebuild(caller, stack, options).catch((error: unknown) => {
        const failure = failureIn(error);
        if (failure) note(context, failureDetails(recordFailure(failure, secretsOf(context.env)), failure));
        throw error;
      });
      if (options.json) printJson(context, done);
      else print(context, `${done.name}@${done.version}/${done.hash.slice(0, 7)}: ${done.outcome}`);
    });
};
