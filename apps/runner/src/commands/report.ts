import { openStack, type ReportOptions, reportStack, reportStart } from '@stackwright/stack';
import { callerOf } from '../caller.js';
import type { Define } from '../command.js';
import { print, printJson } from '../context.js';
import { type AllowOptions, allowOption, withAllowed } from '../options.js';

export const define: Define = (command, context) => {
  command
    .argument('<stack>', 'folder with spack.yaml and spack.lock')
    .option('--cdash <url>', "CDash's address (default: cdash:url)")
    .option('--project <name>', 'project there (default: cdash:project)')
    .option('--site <name>', 'who reports (default: cdash:site, else the name of this machine)')
    .option('--group <name>', 'build group (default: cdash:build-group)')
    .option('--write <folder>', 'write the files for CDash there instead of sending them')
    .option('--resend', 'send to CDash what it does not have yet, only')
    .option('--strict', 'fail when CDash is away or does not take a build')
    .option('--pending', 'only tell the forge that the run starts: what will be built, and why')
    .option('--no-status', 'put no status on the commit')
    .option('--check', 'show a check run with the failures, too (GitHub; needs checks: write)')
    .option('--comment', 'comment on the pull request, in the place of the comment before')
    .option('--junit <file>', 'write the result as JUnit XML')
    .option('--page <file>', 'write the page of the run')
    .option(
      '--collect <folder...>',
      "report what a pipeline's jobs left as artifacts in these folders, together",
    )
    .option('--link <url>', 'page that the commit status leads to (default in CI: the pipeline)')
    .option('--work <folder>', 'folder in which the run left its files (default: .stackwright/STACK)')
    .addOption(allowOption())
    .option('--json', 'print {"builds": [{"hash", "name", "version", "outcome", "seconds", "link"}]}')
    .addHelpText(
      'after',
      `
CDASH_AUTH_TOKEN (or SPACK_CDASH_AUTH_TOKEN) is the token for CDash. The commit
is that of the CI job, of a pull request its own and not the merge;
GITHUB_TOKEN, or GITLAB_TOKEN, allows the status. A job of GitHub also gets a
summary.`,
    )
    .action(
      async (
        argument: string,
        options: ReportOptions & AllowOptions & { json?: boolean; pending?: boolean },
      ) => {
        const caller = callerOf(withAllowed(context, options), { quiet: options.json });
        const stack = await openStack(caller, argument);
        if (options.pending) return reportStart(caller, stack, options);
        const builds = await reportStack(caller, stack, options, (line) => {
          if (!options.json) print(context, line);
        });
        if (options.json) printJson(context, { builds });
      },
    );
};
