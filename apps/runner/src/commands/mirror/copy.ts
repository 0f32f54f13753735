import { copyKeys, copyViews, describe, type Mirror, type MirrorReader } from '@stackwright/buildcache';
import { findSigner, type SignerOptions, selectPackages, type TrustOptions } from '@stackwright/stack';
import type { Command } from 'commander';
import { callerOf } from '../../caller.js';
import type { Define } from '../../command.js';
import { type Context, note, printJson } from '../../context.js';
import {
  count,
  failures,
  openSource,
  openTarget,
  repeatable,
  type StoreOptions,
  signerOptions,
  storeOptions,
  ticker,
  trusted,
  trustOptions,
  viewOption,
} from './shared.js';

export interface CopyOptions extends StoreOptions, TrustOptions, SignerOptions {
  readonly stack: readonly string[];
  readonly dependencies: boolean;
  readonly force?: boolean;
  readonly index: boolean;
  readonly sign?: boolean;
  readonly json?: boolean;
}

export const define: Define = (command, context) => {
  signerOptions(copyOptions(command))
    .option('--sign', 'sign each package again (with --key, --gpg or SPACK_SIGNING_KEY)')
    .action((from: string, to: string, specs: string[], options: CopyOptions) =>
      copy(context, from, to, specs, options, false),
    );
};

export function copyOptions(command: Command): Command {
  return trustOptions(
    viewOption(storeOptions(command), 'only what this index view holds; it is carried along alone'),
  )
    .argument('<from>', 'path or URL of the mirror to read')
    .argument('<to>', 'path or URL of the mirror to write')
    .argument('[specs...]', 'packages that satisfy one of these, with what they need; else all')
    .addOption(repeatable('--stack <dir>', "what is in this stack's lock (repeatable)"))
    .option('--no-dependencies', "without the packages' link and run dependencies")
    .option('--force', 'copy packages even if the other mirror has them')
    .option('--no-index', 'do not update the index')
    .option('--json', 'print {"from","to","packages":[{"name","version","hash","outcome"}]}');
}

export async function copy(
  context: Context,
  fromUrl: string,
  toUrl: string,
  specs: readonly string[],
  options: CopyOptions,
  onlyTrusted: boolean,
): Promise<void> {
  const from = await trusted(context, await openSource(context, fromUrl, options), options);
  const to = await openTarget(context, toUrl, options);
  const progress = ticker(context, 'copied');
  try {
    const refs = await selectPackages(callerOf(context), from, {
      specs,
      stacks: options.stack,
      withDependencies: options.dependencies,
    });
    const settings = {
      signer: options.sign ? await findSigner(callerOf(context), options) : undefined,
      force: options.force,
      onlyTrusted,
      signal: context.signal,
      onProgress: progress.tick,
    };
    const { outcomes, failed } = await to.copyFrom(from, refs, settings);
    progress.end();
    const tally = (wanted: string) => [...outcomes.values()].filter((one) => one === wanted).length;
    // Also when nothing was left to copy: an earlier run may have ended before it came to this.
    if (tally('copied') + tally('present') > 0) {
      if (!options.sign) await copyKeys(from, to, context.signal);
      if (options.index) {
        await to.updateIndex({ signer: settings.signer, signNew: true, signal: context.signal });
        await carryViews(context, from, to);
      }
    }
    if (options.json) {
      printJson(context, {
        from: from.url,
        to: to.url,
        packages: refs.map((ref) => ({ ...ref, outcome: outcomes.get(ref.hash) ?? 'failed' })),
      });
    }
    for (const ref of refs) {
      if (outcomes.get(ref.hash) === 'left-out')
        note(context, `left out ${describe(ref)}: not signed by a trusted key`);
    }
    note(
      context,
      `${count(tally('copied'), 'package')} copied, ${tally('present')} there before, ${tally('left-out')} left out: ${to.url}`,
    );
    failures(failed);
  } finally {
    progress.end();
    await from.close();
    await to.close();
  }
}

/** Carries the index views along. @param replace the other mirror's views become those of the first */
export async function carryViews(
  context: Context,
  from: MirrorReader,
  to: Mirror,
  replace = false,
): Promise<void> {
  const { signal } = context;
  if (!to.viewable && (await from.views(signal)).length > 0)
    note(context, `Warning: ${to.url} cannot have index views; those of ${from.url} are left out.`);
  await copyViews(from, to, { replace, signal });
}
