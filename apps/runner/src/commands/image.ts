import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import {
  type AssembledImage,
  type BaseImage,
  type ImageSettings,
  indexOf,
  missingPartsOf,
  openBase,
  type PlatformIndex,
  parseLayoutName,
  pushImage,
  pushIndex,
  refuseIncomplete,
  Staging,
  writeDockerArchive,
  writeIndex,
  writeLayout,
} from '@stackwright/image';
import { openRepository, parseAddress } from '@stackwright/oci';
import {
  billOf,
  kindOfImage,
  openProver,
  openStackImage,
  openWork,
  type Prover,
  type Stack,
  verifyImage,
} from '@stackwright/stack';
import { Option } from 'commander';
import prettyBytes from 'pretty-bytes';
import { openGroups } from '../builder.js';
import { callerOf } from '../caller.js';
import type { Define } from '../command.js';
import { type Context, note, print, printJson } from '../context.js';
import { RunnerError } from '../exit.js';
import {
  type AllowOptions,
  allowOption,
  collect,
  groupOption,
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
  readonly recipes: readonly string[];
  readonly sign?: boolean;
  readonly key?: string;
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
    .argument('<image>', 'oci:FOLDER[:TAG], docker-archive:FILE[:NAME:TAG] or REGISTRY/REPOSITORY:TAG')
    .option('--json', 'print manifest and configuration as JSON')
    .action((image: string, options: { json?: boolean }) => inspect(context, image, options));

  test(command, context);
  verify(command, context);
  index(command, context);
};

function test(command: ReturnType<Parameters<Define>[0]['command']>, context: Context): void {
  command
    .command('test')
    .description(
      'Check that the programs of an image find what they need in it: interpreters, libraries, the command.',
    )
    .argument('<image>', 'oci:FOLDER[:TAG], docker-archive:FILE[:NAME:TAG] or REGISTRY/REPOSITORY:TAG')
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

function index(command: ReturnType<Parameters<Define>[0]['command']>, context: Context): void {
  command
    .command('index')
    .description('Put images of several platforms under one name.')
    .argument('<image...>', 'oci:FOLDER[:TAG], docker-archive:FILE[:NAME:TAG] or REGISTRY/REPOSITORY:TAG')
    .requiredOption('-o, --output <where>', 'oci:FOLDER[:TAG] or REGISTRY/REPOSITORY:TAG')
    .option('--json', 'print digest and platforms as JSON')
    .action(async (images: string[], { output, json }: { output: string; json?: boolean }) => {
      const write = indexWriter(context, output);
      const made = indexOf(await Promise.all(images.map((image) => openImage(context, image))));
      const { digest } = await write(made);
      if (!json) return print(context, digest);
      const platforms = made.images.map(({ image: { config, descriptor } }) => ({
        platform: `${config.os}/${config.architecture}`,
        digest: descriptor.digest,
      }));
      printJson(context, { digest, images: platforms });
    });
}

/** The output is understood before any work is done. */
function indexWriter({ cwd, env, signal }: Context, output: string) {
  if (/^oci:(?!\/\/)/.test(output)) {
    const { folder, tag } = parseLayoutName(output);
    return (made: PlatformIndex) => writeIndex(made, resolve(cwd, folder), tag, signal);
  }
  const address = taggedAddress(output);
  return (made: PlatformIndex) => pushIndex(made, openRepository(address, env), address.tag, signal);
}

/** An address that something can be pushed to. @throws RunnerError */
function taggedAddress(text: string) {
  const address = parseAddress(text);
  if (address.digest)
    throw new RunnerError('usage', `"${text}" names a digest; an image is pushed under a tag.`);
  return { ...address, tag: address.tag ?? 'latest' };
}

function verify(command: ReturnType<Parameters<Define>[0]['command']>, context: Context): void {
  command
    .command('verify')
    .description('Check who signed an image in a registry, and show what it was made from.')
    .argument('<image>', 'REGISTRY/REPOSITORY:TAG, or @DIGEST')
    .option('--trust <file>', 'public key whose signatures count (repeatable)', collect, [])
    .option('--json', 'print digest and signed statements as JSON')
    .action(async (text: string, options: { trust: readonly string[]; json?: boolean }) => {
      const address = parseAddress(text);
      const source = openRepository(address, context.env);
      const descriptor = await source.head(address.digest ?? address.tag ?? 'latest', context.signal);
      if (!descriptor)
        throw new RunnerError('no-image', `${text} is not there.`, {
          hint: 'Look at its tags with skopeo list-tags.',
        });
      const caller = callerOf(context, { quiet: options.json });
      const statements = await verifyImage(caller, source, descriptor, options.trust);
      const { digest } = descriptor;
      if (options.json) return printJson(context, { digest, statements });
      print(context, `digest   ${digest}`);
      for (const { predicateType, signedBy } of statements)
        print(context, `signed   ${predicateType} by ${signedBy}`);
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
    .option(
      '--base <image>',
      'image to build on: scratch, oci:FOLDER[:TAG], docker-archive:FILE[:NAME:TAG], rootfs:FILE, or a reference',
    )
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
    .option(
      '--recipes <folder>',
      "repository of recipes to take licences from, besides the stack's own (repeatable)",
      collect,
      [],
    )
    .option(
      '--sign',
      'sign the image in the registry, with provenance and bills of materials (default key: $SPACK_SIGNING_KEY)',
    )
    .option('--key <file>', 'secret key to sign with')
    .option('--work <folder>', 'folder that remembers checked blobs (default: .stackwright/STACK)')
    .option('--json', 'print digest, layers and outputs as JSON');
}

async function run(context: Context, argument: string, options: BuildOptions): Promise<void> {
  const caller = callerOf(withAllowed(context, options), { quiet: options.json });
  const { progress } = caller;
  const stack = await openGroups(caller, argument, options);
  const outputs = (options.output.length > 0 ? options.output : ['oci:image']).map((text) =>
    parseOutput(text, context),
  );
  const recipes = options.recipes.map((folder) => resolve(context.cwd, folder));
  const prover = options.sign ? await proverFor(caller, stack, outputs, { ...options, recipes }) : undefined;
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
    await progress.phase(`Write ${output.name}`, async ({ result }) =>
      result(await output.write(image, prover)),
    );
  }
  if (options.sbom)
    await writeFile(resolve(context.cwd, options.sbom), await billOf(stack, image, { recipes }));
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
  write(image: AssembledImage, prover?: Prover): Promise<string>;
  /** Whether a signature can be kept beside it. */
  readonly signable?: boolean;
}

/** @throws RunnerError where an output has no place for signatures */
async function proverFor(
  caller: ReturnType<typeof callerOf>,
  stack: Stack,
  outputs: readonly Output[],
  options: Pick<BuildOptions, 'kind' | 'key' | 'recipes'>,
): Promise<Prover> {
  const plain = outputs.find(({ signable }) => !signable);
  if (plain)
    throw new RunnerError('usage', `${plain.name} cannot be signed: signatures are kept in registries.`, {
      hint: 'Sign what is pushed: stackwright image push STACK REFERENCE --sign',
    });
  const { key, recipes } = options;
  return openProver(caller, stack, { key, recipes, kind: kindOfImage(stack, options) });
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
  const address = taggedAddress(text);
  const { tag } = address;
  return {
    name: text,
    signable: true,
    write: async (image, prover) => {
      const target = openRepository(address, context.env);
      await prover?.attach(image, target, tag);
      const { sent } = await pushImage(image, target, [tag], { signal: context.signal });
      return `${sent.layers} of ${image.layers.length} layers sent, ${prettyBytes(sent.bytes)}`;
    },
  };
}

/** An image to look at. */
async function openImage({ cwd, env, signal }: Context, text: string): Promise<BaseImage> {
  const work = resolve(cwd, '.stackwright/images');
  const base = await openBase(text, { cwd, env, work, signal });
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
