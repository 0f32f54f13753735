import { existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { createInterface } from 'node:readline/promises';
import { parseSpec } from '@stackwright/spack-env';
import { execa } from 'execa';
import type { Define } from '../command.js';
import { type Context, note, print, printJson } from '../context.js';
import { RunnerError } from '../exit.js';
import { newStack, stackName } from '../init/files.js';
import { collect } from '../options.js';
import { environmentWithoutSecrets } from '../secrets.js';

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
    .option('--from <stack>', 'adopt this stack: a folder with spack.yaml, or a URL that git can clone')
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
    .action((folder: string, options: Options) => init(context, folder, options));
};

async function init(context: Context, argument: string, options: Options): Promise<void> {
  const folder = resolve(context.cwd, argument);
  const name = options.name ?? stackName(basename(folder));
  if (name !== stackName(name)) {
    throw new RunnerError(
      'input',
      `"${name}" is no name for a stack.`,
      'Letters, digits, dots, dashes and underscores make one: --name NAME.',
    );
  }
  const adopted = options.from !== undefined || existsSync(join(folder, 'spack.yaml'));
  const answers = adopted ? options : await ask(context, options);
  for (const spec of answers.spec) parseSpec(spec);
  if (options.from !== undefined) await adopt(context, options.from, folder);
  const files = newStack({
    name,
    specs: answers.spec.length > 0 ? answers.spec : ['zlib-ng'],
    base: options.base,
    mirror: answers.mirror,
  });
  const there = Object.keys(files).filter((path) => existsSync(join(folder, path)));
  if (there.length > 0 && !adopted) {
    throw new RunnerError(
      'input',
      `${argument} has ${there.join(', ')} already.`,
      'Nothing was written. Choose an empty folder, or move these files away.',
    );
  }
  const written = Object.keys(files).filter((path) => !there.includes(path));
  for (const path of written) {
    const { text, mode = 0o644 } = files[path]!;
    const file = join(folder, path);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, text, { flag: 'wx', mode });
    if (!options.json) print(context, join(relative(context.cwd, folder), path));
  }
  if (options.json) return printJson(context, { folder, files: written });
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
}

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

/** What a working copy holds besides the stack itself. */
const notTheStack = new Set(['.git', '.spack-env', '.stackwright', 'jobs_scratch_dir']);

/** Copies a stack into a folder; files that are there stay. Nothing is copied where it lies there already. */
async function adopt({ cwd, env, signal }: Context, from: string, folder: string): Promise<void> {
  const remote = /^[a-z][a-z0-9+.-]*:\/\/|^[^/]+@[^/]+:/i.test(from);
  const clone = remote ? await mkdtemp(join(tmpdir(), 'stackwright-init-')) : undefined;
  try {
    if (clone) {
      const git = await execa('git', ['clone', '--quiet', '--depth=1', '--', from, clone], {
        reject: false,
        env: { ...environmentWithoutSecrets(env), GIT_TERMINAL_PROMPT: '0' },
        extendEnv: false,
        cancelSignal: signal,
      });
      signal.throwIfAborted();
      if (git.failed)
        throw new RunnerError(
          'missing',
          `git could not clone ${from}: ${git.stderr.trim() || git.shortMessage}`,
        );
    }
    const source = clone ?? resolve(cwd, from);
    if (!(await stat(join(source, 'spack.yaml')).catch(() => undefined)))
      throw new RunnerError(
        'input',
        `${from} is not a stack: it has no spack.yaml.`,
        'Name the folder that holds it.',
      );
    if (source === folder) return;
    await cp(source, folder, {
      recursive: true,
      force: false,
      verbatimSymlinks: true,
      filter: (path) => !notTheStack.has(basename(path)),
    });
  } finally {
    if (clone) await rm(clone, { recursive: true, force: true });
  }
}
