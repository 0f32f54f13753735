import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import {
  type AssembledImage,
  type BaseImage,
  type ImageSettings,
  missingPartsOf,
  openBase,
  parseLayoutName,
  pushImage,
  refuseIncomplete,
  Staging,
  writeDockerArchive,
  writeLayout,
} from '@stackwright/image';
import { openRepository, parseAddress } from '@stackwright/oci';
import { billOf, inGroups, openStack, openStackImage, openWork } from '@stackwright/stack';
import { Option } from 'commander';
import prettyBytes from 'pretty-bytes';
import { callerOf } from '../caller.js';
import type { Define } from '../command.js';
import { type Context, note, print, printJson } from '../context.js';
import { RunnerError } from '../exit.js';
import {
  type AllowOptions,
  allowOption,
  collect,
  groupOption,
  includeRule,
  maxAgeOption,
  notBeforeOption,
  offlineOption,
  withAllowed,
} from '../options.js';

interface BuildOptions extends AllowOptions {
  readonly mirror?: string;
  readonly base?: string;
  readonly kind?: 'software' | 'mirror';
  readonly mirrorRoot?: string;
  readonly output: readonly string[];
  readonly group: readonly string[];
  readonly offline?: boolean;
  readonly installRoot?: string;
  readonly view?: string | false;
  readonly command?: string;
  readonly label: readonly string[];
  readonly trust: readonly string[];
  readonly unsigned?: boolean;
  readonly notBefore?: Date;
  readonly maxAge?: number;
  readonly check?: boolean;
  readonly sbom?: string;
  readonly work?: string;
  readonly json?: boolean;
}

export const define: Define = (command, context) => {
  const build = command
    .command('build')
    .description("Assemble the image of a stack from its mirror's blobs. Nothing is built.")
    .argument('<stack>', 'folder with spack.yaml and spack.lock')
    .option(
      '-o, --output <where>',
      'oci:FOLDER[:TAG], docker-archive:FILE or REGISTRY/REPOSITORY:TAG (repeatable)',
      collect,
      [],
    );
  shared(build).action((stack: string, options: BuildOptions) => run(context, stack, options));

  const push = command
    .command('push')
    .description('Assemble the image of a stack and push it to a registry.')
    .argument('<stack>', 'folder with spack.yaml and spack.lock')
    .argument('<reference...>', 'REGISTRY/REPOSITORY:TAG, also behind oci:// (TLS) or oci+http:// (none)');
  shared(push).action((stack: string, references: string[], options: BuildOptions) => {
    for (const reference of references) parseAddress(reference);
    return run(context, stack, { ...options, output: references });
  });

  command
    .command('inspect')
    .description('Show what is in an image: configuration, layers, origin.')
    .argument('<image>', 'oci:FOLDER[:TAG] or REGISTRY/REPOSITORY:TAG')
    .option('--json', 'print manifest and configuration as JSON')
    .action((image: string, options: { json?: boolean }) => inspect(context, image, options));

  test(command, context);
};

function test(command: ReturnType<Parameters<Define>[0]['command']>, context: Context): void {
  command
    .command('test')
    .description(
      'Check that the programs of an image find what they need in it: interpreters, libraries, the command.',
    )
    .argument('<image>', 'oci:FOLDER[:TAG] or REGISTRY/REPOSITORY:TAG')
    .option('--host-provides <name>', 'a library that the host brings at run time (repeatable)', collect, [])
    .option('--work <folder>', 'folder that remembers what layers hold (default: .stackwright/images)')
    .option('--json', 'print what is missing as JSON')
    .action(async (image: string, options: TestOptions) => {
      const { image: read, source } = await openImage(context, image);
      const missing = await missingPartsOf(read, source, {
        staging: await Staging.open(resolve(context.cwd, options.work ?? '.stackwright/images')),
        hostProvides: options.hostProvides,
        signal: context.signal,
      });
      if (options.json) printJson(context, { digest: read.descriptor.digest, missing });
      refuseIncomplete(missing);
      if (!options.json)
        print(context, `${image}: ${read.manifest.layers.length} layers, nothing is missing`);
    });
}

interface TestOptions {
  readonly hostProvides: readonly string[];
  readonly work?: string;
  readonly json?: boolean;
}

function shared(command: ReturnType<Parameters<Define>[0]['command']>) {
  return command
    .option(
      '--mirror <url>',
      "build cache to take binaries from (default: $REMOTE_BUILDCACHE_URL, else the stack's own mirrors)",
    )
    .addOption(groupOption('hold the roots of this group').default([], 'those that no other group needs'))
    .addOption(offlineOption())
    .addOption(allowOption())
    .option('--base <image>', 'image to build on: scratch, oci:FOLDER[:TAG], or a reference')
    .addOption(
      new Option(
        '--kind <kind>',
        'what the image holds: the installed packages, or a mirror to install them from',
      ).choices(['software', 'mirror']),
    )
    .option('--mirror-root <folder>', 'where that mirror lies in the image (default: /mirror)')
    .option('--install-root <folder>', 'where packages lie in the image (default: where they were built)')
    .option(
      '--view <folder>',
      'where links to the packages lie in the image (default: /opt/view, none on scratch)',
    )
    .option('--no-view', 'no such links; the search paths list the packages')
    .option('--command <words>', 'default command, split at spaces')
    .option('--label <name=value>', 'label of the image (repeatable)', collect, [])
    .option('--trust <file>', 'public key whose signatures count (repeatable)', collect, [])
    .option('--unsigned', 'take packages without signatures')
    .addOption(notBeforeOption())
    .addOption(maxAgeOption())
    .option('--check', 'read every binary, also those whose signed manifests say what is in them')
    .option('--no-check', 'make the image even if its programs could not start in it')
    .option('--sbom <file>', 'write the bill of materials (SPDX) here')
    .option('--work <folder>', 'folder that remembers checked blobs (default: .stackwright/STACK)')
    .option('--json', 'print digest, layers and outputs as JSON');
}

async function run(context: Context, argument: string, options: BuildOptions): Promise<void> {
  const caller = callerOf(withAllowed(context, options), { quiet: options.json });
  const { progress } = caller;
  const stack = inGroups(
    await openStack(caller, argument, { includes: includeRule(options) }),
    options.group,
  );
  const outputs = (options.output.length > 0 ? options.output : ['oci:image']).map((text) =>
    parseOutput(text, context),
  );
  const work = await openWork(caller, stack, options.work);
  const image = await progress.phase('Assemble the image', async (report) => {
    const assembled = await openStackImage(caller, stack, {
      ...options,
      settings: settingsOf(options),
      staging: work.cache,
      onLayer: (ready, all) => report.update(`layer ${ready} of ${all}`),
    });
    const size = assembled.layers.reduce((sum, layer) => sum + layer.descriptor.size, 0);
    report.result(`${assembled.layers.length} layers, ${prettyBytes(size)}`);
    return assembled;
  });
  for (const output of outputs) {
    await progress.phase(`Write ${output.name}`, async ({ result }) => result(await output.write(image)));
  }
  if (options.sbom) await writeFile(resolve(context.cwd, options.sbom), billOf(stack, image));
  const { digest } = image.manifest.descriptor;
  if (options.json) {
    printJson(context, {
      digest,
      layers: image.layers.map((layer) => layer.descriptor),
      outputs: outputs.map((one) => one.name),
    });
  } else print(context, digest);
}

function settingsOf(options: BuildOptions): ImageSettings {
  const labels = options.label.map((text) => {
    const at = text.indexOf('=');
    if (at < 1) throw new RunnerError('usage', `"${text}" is no label.`, { hint: 'Write NAME=VALUE.' });
    return [text.slice(0, at), text.slice(at + 1)] as const;
  });
  return { command: options.command?.trim().split(/\s+/), labels: Object.fromEntries(labels) };
}

interface Output {
  readonly name: string;
  /** Returns what to tell. */
  write(image: AssembledImage): Promise<string>;
}

/** Every output is understood before any work is done. */
function parseOutput(text: string, context: Context): Output {
  if (/^oci:(?!\/\/)/.test(text)) {
    const { folder, tag } = parseLayoutName(text);
    return {
      name: text,
      write: async (image) => (await writeLayout(image, resolve(context.cwd, folder), tag)).digest,
    };
  }
  if (text.startsWith('docker-archive:')) {
    const [, file = '', reference = 'stack:latest'] = /^docker-archive:([^:]+)(?::(.+))?$/.exec(text) ?? [];
    if (!file)
      throw new RunnerError('usage', `"${text}" names no file.`, {
        hint: 'Write docker-archive:FILE[:NAME:TAG].',
      });
    return {
      name: text,
      write: async (image) => {
        await writeDockerArchive(image, resolve(context.cwd, file), reference, context.signal);
        return `load it with: docker load -i ${file}`;
      },
    };
  }
  const address = parseAddress(text);
  const { tag = 'latest', digest } = address;
  if (digest) throw new RunnerError('usage', `"${text}" names a digest; an image is pushed under a tag.`);
  return {
    name: text,
    write: async (image) => {
      const target = openRepository(address, context.env);
      const { sent } = await pushImage(image, target, [tag], { signal: context.signal });
      return `${sent.layers} of ${image.layers.length} layers sent, ${prettyBytes(sent.bytes)}`;
    },
  };
}

/** An image to look at. */
async function openImage({ cwd, env, signal }: Context, text: string): Promise<BaseImage> {
  const base = await openBase(text, { cwd, env, signal });
  if (!base) throw new RunnerError('usage', '"scratch" is no image to look at.');
  return base;
}

async function inspect(context: Context, text: string, options: { json?: boolean }): Promise<void> {
  const { descriptor, manifest, config } = (await openImage(context, text)).image;
  if (options.json) return printJson(context, { digest: descriptor.digest, manifest, config });
  const { Entrypoint = [], Cmd = [], Env = [], Labels = {} } = config.config ?? {};
  note(context, `${text}: ${config.os}/${config.architecture}`);
  print(context, `digest   ${descriptor.digest}`);
  print(context, `command  ${[...(Entrypoint ?? []), ...(Cmd ?? [])].join(' ') || 'none'}`);
  for (const entry of Env) print(context, `env      ${entry}`);
  for (const [name, value] of Object.entries(Labels)) print(context, `label    ${name}=${value}`);
  const history = (config.history ?? []).filter((step) => !step.empty_layer);
  for (const [index, layer] of manifest.layers.entries()) {
    const origin = history[index]?.created_by?.replace('stackwright: ', '') ?? '';
    print(
      context,
      `layer    ${layer.digest.slice(7, 19)}  ${prettyBytes(layer.size).padStart(7)}  ${origin}`.trimEnd(),
    );
  }
}
