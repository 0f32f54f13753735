import { join, relative } from 'node:path';
import { createInterface } from 'node:readline/promises';
import { initStack, isAdopted } from '@stackwright/stack';
import { callerOf } from '../caller.js';
import type { Define } from '../command.js';
import { type Context, note, print, printJson } from '../context.js';
import { collect } from '../options.js';

interface Options {
  readonly name?: string;
  readonly spec: readonly string[];
  readonly mirror?: string;
  readonly base: string;
  readonly from?: string;
  readonly yes?: boolean;
  readonly json?: boolean;
}

export const define: Define = (command, context) => {
  command
    .argument('[dir]', 'folder of the stack', '.')
    .option(
      '--from <stack>',
      'adopt this stack: a folder with spack.yaml, or a URL that git can clone (URL#FOLDER for a stack below its root)',
    )
    .option('--name <name>', "the stack's name (default: that of the folder)")
    .option('--spec <spec>', 'what to build (repeatable; default: zlib-ng)', collect, [])
    .option('--mirror <url>', 'build cache that CI reads from and writes to (default: a folder in your home)')
    .option('--base <image>', 'image to build on', 'debian:12')
    .option('-y, --yes', 'ask nothing, take the defaults')
    .option('--json', 'print {"folder","files"}')
    .addHelpText(
      'after',
      `
Writes spack.yaml, stackwright.yaml, pipelines for GitLab and GitHub, the hook
for DockerHub, .gitignore and a README. In a folder that has a spack.yaml
already, and with --from, only the files that are absent are written. Existing
files are never replaced. On a terminal init asks for what no option gives.`,
    )
    .action(async (argument: string, options: Options) => {
      const caller = callerOf(context, { quiet: options.json });
      const { spec, mirror } = isAdopted(caller, argument, options.from)
        ? options
        : await ask(context, options);
      const { folder, files } = await initStack(caller, argument, { ...options, specs: spec, mirror });
      if (options.json) return printJson(context, { folder, files });
      for (const path of files) print(context, join(relative(context.cwd, folder), path));
      const shown = relative(context.cwd, folder) || '.';
      const quoted = /[^\w./-]/.test(shown) ? `'${shown}'` : shown;
      note(
        context,
        `
Next:
  stackwright doctor ${quoted}        # what is still missing
  stackwright concretize ${quoted}    # Spack decides what is built; commit spack.lock
  stackwright run ${quoted}           # build the stack on this machine, once
README.md says how CI takes over.`,
      );
    });
};

/** Asks on a terminal for what no option gives. Elsewhere, and with `--yes`, the options are the answers. */
async function ask(context: Context, options: Options): Promise<Pick<Options, 'spec' | 'mirror'>> {
  const terminal = (context.stdin as NodeJS.ReadStream).isTTY && context.stderr.isTTY;
  if (options.yes || options.json || !terminal) return options;
  const lines = createInterface({ input: context.stdin, output: context.stderr });
  try {
    const answer = async (question: string) =>
      (await lines.question(question, { signal: context.signal })).trim();
    const spec =
      options.spec.length > 0
        ? options.spec
        : (await answer('What is to be built? Specs, with commas between [zlib-ng]: '))
            .split(',')
            .map((one) => one.trim())
            .filter(Boolean);
    const mirror =
      options.mirror ??
      ((await answer('Build cache (s3://…, oci://…, a folder) [a folder in your home]: ')) || undefined);
    return { spec, mirror };
  } finally {
    lines.close();
  }
}
