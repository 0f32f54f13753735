import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { parseSpec } from '@stackwright/spack-env';
import type { Define } from '../command.js';
import { type Context, note, print, printJson } from '../context.js';
import { RunnerError } from '../exit.js';
import { newStack } from '../init/files.js';
import { collect } from '../options.js';

interface Options {
  readonly name?: string;
  readonly spec: readonly string[];
  readonly mirror?: string;
  readonly base: string;
  readonly json?: boolean;
}

export const define: Define = (command, context) => {
  command
    .argument('[dir]', 'folder of the new stack', '.')
    .option('--name <name>', "the stack's name (that of the folder)")
    .option('--spec <spec>', 'what to build (repeatable; zlib-ng)', collect, [])
    .option('--mirror <url>', 'build cache that CI reads and writes')
    .option('--base <image>', 'image to build on', 'debian:12')
    .option('--json', 'print {"folder","files"}')
    .addHelpText(
      'after',
      `
Writes spack.yaml, stackwright.yaml, pipelines for GitLab and GitHub, the hook
of DockerHub, .gitignore and a README. Files that are there are never replaced.`,
    )
    .action((folder: string, options: Options) => init(context, folder, options));
};

async function init(context: Context, argument: string, options: Options): Promise<void> {
  const folder = resolve(context.cwd, argument);
  const name = options.name ?? basename(folder);
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(name)) {
    throw new RunnerError(
      'input',
      `"${name}" is no name for a stack.`,
      'Letters, digits, dots, dashes and underscores make one: --name NAME.',
    );
  }
  for (const spec of options.spec) parseSpec(spec);
  const files = newStack({
    name,
    specs: options.spec.length > 0 ? options.spec : ['zlib-ng'],
    base: options.base,
    ...(options.mirror ? { mirror: options.mirror } : {}),
  });
  const there = Object.keys(files).filter((path) => existsSync(join(folder, path)));
  if (there.length > 0) {
    throw new RunnerError(
      'input',
      `${argument} has ${there.join(', ')} already.`,
      'Nothing was written. Take an empty folder, or move these away.',
    );
  }
  for (const [path, { text, mode }] of Object.entries(files)) {
    const file = join(folder, path);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, text, { flag: 'wx', mode: mode ?? 0o644 });
    if (!options.json) print(context, join(relative(context.cwd, folder), path));
  }
  if (options.json) return printJson(context, { folder, files: Object.keys(files) });
  const shown = relative(context.cwd, folder) || '.';
  note(
    context,
    `
Next:
  stackwright doctor ${shown}
  stackwright concretize ${shown}    # Spack decides; commit spack.lock
  stackwright run ${shown}           # build it here, once
README.md says how CI takes over.`,
  );
}
