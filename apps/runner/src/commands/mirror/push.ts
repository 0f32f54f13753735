import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import {
  describe,
  type InstallTree,
  installedPackage,
  OciMirror,
  type PushAllOptions,
  readInstalled,
  readInstallTree,
} from '@stackwright/buildcache';
import { openBase } from '@stackwright/image';
import { parseReference } from '@stackwright/oci';
import { findSpackPrefix, paddedRoot } from '@stackwright/spack';
import { isRegistryUrl } from '@stackwright/spack-env';
import { childEnvironment, findSigner, type SignerOptions, shippedOf } from '@stackwright/stack';
import prettyBytes from 'pretty-bytes';
import { callerOf } from '../../caller.js';
import type { Define } from '../../command.js';
import { type Context, note, printJson } from '../../context.js';
import { RunnerError } from '../../exit.js';
import { groupOption } from '../../options.js';
import {
  count,
  failures,
  openTarget,
  repeatable,
  type StoreOptions,
  signerOptions,
  storeOptions,
} from './shared.js';

interface Options extends StoreOptions, SignerOptions {
  readonly tree: string;
  readonly stack: readonly string[];
  readonly group: readonly string[];
  readonly force?: boolean;
  readonly unsigned?: boolean;
  readonly index: boolean;
  readonly spackRoot?: string;
  readonly tag?: string;
  readonly baseImage?: string;
  readonly jobs: string;
  readonly json?: boolean;
}

/** Docker's overlay refuses more. */
const mostLayers = 127;

export const define: Define = (command, context) => {
  signerOptions(storeOptions(command))
    .argument('<mirror>', 'path or URL of the mirror')
    .argument('[packages...]', 'installed prefixes, names or /HASHes; all of the tree when left out')
    .requiredOption('--tree <dir>', "Spack's install tree (config:install_tree:root)")
    .addOption(repeatable('--stack <dir>', "what is in this stack's lock (repeatable)"))
    .addOption(groupOption('of the stack only this group').default([], 'those that no other group needs'))
    .option('--unsigned', 'push without signing')
    .option('--force', 'push packages even if the mirror has them')
    .option('--no-index', 'do not update the index')
    .option('--spack-root <dir>', 'the Spack that installed them (else SPACK_ROOT, else on PATH)')
    .option('-j, --jobs <n>', 'packages at once', '3')
    .option('--tag <name>', 'oci://: also an image of these packages together, under this tag')
    .option('--base-image <image>', 'oci://: image to put the packages on: oci:FOLDER[:TAG] or a reference')
    .option('--json', 'print {"mirror","packages":[{"name","version","hash","outcome","digest","size"}]}')
    .action((url: string, packages: string[], options: Options) => run(context, url, packages, options));
};

async function run(
  context: Context,
  url: string,
  packages: readonly string[],
  options: Options,
): Promise<void> {
  assertApplicable(url, options);
  const signer = options.unsigned ? undefined : await findSigner(callerOf(context), options);
  if (!signer && !options.unsigned) {
    throw new RunnerError('no-key', 'There is no key to sign with.', {
      hint: 'Set SPACK_SIGNING_KEY, give --key FILE or --gpg USER, or push unsigned (--unsigned).',
    });
  }
  const tree = await readInstallTree(await paddedRoot(resolve(context.cwd, options.tree)));
  const { prefixes, roots } = await choose(context, tree, packages, options);
  // Its path stands in each package's metadata.
  const env = childEnvironment(context.env);
  const spackRoot = options.spackRoot ?? (await findSpackPrefix({ env, signal: context.signal })) ?? '';
  const sources = prefixes.map((prefix) => installedPackage(prefix, tree, spackRoot));
  const mirror = await openTarget(context, url, options);
  let done = 0;
  const total = String(sources.length);
  const report = (text: string) => note(context, `[${String(done).padStart(total.length)}/${total}] ${text}`);
  try {
    const settings: PushAllOptions = {
      signer,
      force: options.force,
      parallel: Math.max(1, Number(options.jobs) || 3),
      signal: context.signal,
      onProgress: ({ package: ref, outcome }) => {
        done++;
        if (outcome instanceof Error) report(`failed   ${describe(ref)}`);
        else if (outcome.tarball)
          report(`pushed   ${describe(ref)}  ${prettyBytes(outcome.tarball.descriptor.size)}`);
      },
    };
    const images = mirror instanceof OciMirror ? imagesOf(context, mirror, roots, options) : {};
    const { pushed, failed, combinedLayers } = await mirror.pushAll(sources, { ...settings, ...images });
    if (combinedLayers !== undefined && combinedLayers > mostLayers) {
      note(
        context,
        `Warning: ${options.tag} has ${combinedLayers} layers; Docker takes ${mostLayers}. stackwright image build puts small ones together.`,
      );
    }
    const fresh = pushed.filter((one) => one.outcome === 'pushed').length;
    // Also when nothing was left to push: an earlier run may have ended before it came to this.
    if (options.index && pushed.length > 0) await mirror.updateIndex({ signer, signal: context.signal });
    if (options.json) {
      printJson(context, {
        mirror: mirror.url,
        packages: pushed.map(({ tarball, ...one }) => ({
          ...one,
          ...(tarball ? { digest: tarball.descriptor.digest, size: tarball.descriptor.size } : {}),
        })),
        failed: failed.map((one) => ({ ...one.package, error: one.error.message })),
      });
    }
    note(context, `${count(fresh, 'package')} pushed, ${pushed.length - fresh} there before: ${mirror.url}`);
    failures(failed);
  } finally {
    await mirror.close();
  }
}

/** What only images can be: `--tag` and `--base-image`, both checked before anything is sent. */
function imagesOf(
  context: Context,
  { repository, url }: OciMirror,
  roots: readonly string[],
  { tag, baseImage }: Options,
): Pick<PushAllOptions, 'base' | 'combined'> {
  if (tag !== undefined) parseReference(`${repository.name}:${tag}`);
  if (tag?.endsWith('.spack'))
    throw new RunnerError('usage', `The tag "${tag}" is one of a package or the index.`, {
      hint: 'Give another.',
    });
  if (tag !== undefined && roots.length === 0)
    throw new RunnerError('usage', 'There is no package to make an image of.', {
      hint: 'Name packages or a stack.',
    });
  return {
    ...(tag === undefined ? {} : { combined: { tag, roots } }),
    ...(baseImage === undefined
      ? {}
      : {
          base: (architecture) =>
            openBase(baseImage, {
              cwd: context.cwd,
              env: context.env,
              platform: { os: 'linux', architecture },
              ...(url.startsWith('oci+http:') ? { plainHttp: repository.registry } : {}),
              signal: context.signal,
            }),
        }),
  };
}

function assertApplicable(url: string, options: Options): void {
  if (options.group.length > 0 && options.stack.length === 0)
    throw new RunnerError('usage', '--group names a group of a stack, and no stack is given.', {
      hint: 'Add --stack DIR.',
    });
  if (isRegistryUrl(url)) return;
  const images = [
    ['--tag', options.tag],
    ['--base-image', options.baseImage],
  ] as const;
  const [inapplicable] = images.find(([, value]) => value !== undefined) ?? [];
  if (inapplicable === undefined) return;
  throw new RunnerError('usage', `${inapplicable} is for registries, and ${url} is none.`, {
    hint: `Leave ${inapplicable} out.`,
  });
}

/** Prefixes of what is meant, and hashes of those that were asked for by name, or by users of the tree. */
async function choose(
  context: Context,
  tree: InstallTree,
  packages: readonly string[],
  { stack: stacks, group }: Options,
): Promise<{ prefixes: string[]; roots: string[] }> {
  const chosen = new Set<string>();
  const roots = new Set<string>();
  for (const stack of stacks) {
    const lock = await shippedOf(callerOf(context), stack, group);
    for (const hash of lock.nodes.keys()) if (tree.installed.has(hash)) chosen.add(tree.prefixes.get(hash)!);
    for (const { hash } of lock.roots) if (tree.installed.has(hash)) roots.add(hash);
  }
  for (const one of packages) {
    if (existsSync(join(resolve(context.cwd, one), '.spack', 'spec.json'))) {
      const { prefix, document } = readInstalled(resolve(context.cwd, one));
      chosen.add(prefix);
      roots.add(document.root.hash);
      continue;
    }
    const matches = [...tree.installed].filter((hash) =>
      one.startsWith('/')
        ? hash.startsWith(one.slice(1))
        : readInstalled(tree.prefixes.get(hash)!).document.root.name === one,
    );
    if (matches.length === 0) {
      throw new RunnerError('usage', `"${one}" is not installed in ${tree.root}.`, {
        hint: 'Give a prefix, a name, or /HASH.',
      });
    }
    for (const hash of matches) {
      chosen.add(tree.prefixes.get(hash)!);
      roots.add(hash);
    }
  }
  if (packages.length === 0 && stacks.length === 0) {
    for (const hash of tree.installed) chosen.add(tree.prefixes.get(hash)!);
    for (const hash of tree.explicit) roots.add(hash);
  }
  return { prefixes: [...chosen].sort(), roots: [...roots].sort() };
}
