import { copyKeys, copyPackages, describe, type Mirror, updateIndex } from '@stackwright/buildcache';
import type { Command } from 'commander';
import type { Define } from '../../command.js';
import { type Context, note, printJson } from '../../context.js';
import { RunnerError } from '../../exit.js';
import {
  count,
  failures,
  findSigner,
  isOci,
  open,
  openOci,
  openTarget,
  repeatable,
  type SignerOptions,
  type StoreOptions,
  select,
  signerOptions,
  storeOptions,
  type TrustOptions,
  ticker,
  trusted,
  trustOptions,
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
    .option('--sign', 'sign each package anew (with --key, --gpg or SPACK_SIGNING_KEY)')
    .action((from: string, to: string, specs: string[], options: CopyOptions) =>
      copy(context, from, to, specs, options, false),
    );
};

export function copyOptions(command: Command): Command {
  return trustOptions(storeOptions(command))
    .argument('<from>', 'path or URL of the mirror to read')
    .argument('<to>', 'path or URL of the mirror to write')
    .argument('[specs...]', 'packages that satisfy one of these, with what they need; else all')
    .addOption(repeatable('--stack <dir>', "what is in this stack's lock (repeatable)"))
    .option('--no-dependencies', 'without what the packages link and run')
    .option('--force', 'copy also what is there already')
    .option('--no-index', 'leave the index as it is')
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
  if (isOci(fromUrl)) return copyFromOci(context, fromUrl, toUrl, options);
  const from = await trusted(context, await open(context, fromUrl, options), options);
  if (isOci(toUrl)) return copyToOci(context, from, toUrl, specs, options);
  const to = await openTarget(context, toUrl, options);
  const progress = ticker(context, 'copied');
  try {
    const refs = await select(context, from, specs, options.stack, options.dependencies);
    const { outcomes, failed } = await copyPackages(from, to, refs, {
      signer: options.sign ? await findSigner(context, options) : undefined,
      force: options.force,
      onlyTrusted,
      signal: context.signal,
      onProgress: progress.tick,
    });
    progress.end();
    const tally = (wanted: string) => [...outcomes.values()].filter((one) => one === wanted).length;
    // Also when nothing was left to copy: an earlier run may have ended before it came to this.
    if (tally('copied') + tally('present') > 0) {
      if (!options.sign) await copyKeys(from, to, context.signal);
      if (options.index) await updateIndex(to, { signal: context.signal });
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

async function copyToOci(
  context: Context,
  from: Mirror,
  url: string,
  specs: readonly string[],
  options: CopyOptions,
): Promise<void> {
  const cache = openOci(context, url);
  const refs = await select(context, from, specs, options.stack, options.dependencies);
  const { signal } = context;
  const { copied, present } = await cache.copyFrom(from, refs, { force: options.force, signal });
  if (options.index && copied.length > 0) await cache.updateIndex({ signal });
  if (options.json) printJson(context, { from: from.url, to: url, copied, present });
  note(context, `${count(copied.length, 'package')} copied, ${present.length} there before: ${url}`);
}

async function copyFromOci(
  context: Context,
  url: string,
  toUrl: string,
  options: CopyOptions,
): Promise<void> {
  if (!options.unsigned) {
    throw new RunnerError(
      'input',
      'Packages in a registry carry no signatures.',
      'To take them all the same: --unsigned (with --sign they are signed on the way).',
    );
  }
  const to = await openTarget(context, toUrl, options);
  try {
    const signer = options.sign ? await findSigner(context, options) : undefined;
    const { copied, present } = await openOci(context, url).copyTo(to, { signer, signal: context.signal });
    if (options.index && copied.length + present.length > 0)
      await updateIndex(to, { signal: context.signal });
    if (options.json) printJson(context, { from: url, to: to.url, copied, present });
    note(context, `${count(copied.length, 'package')} copied, ${present.length} there before: ${to.url}`);
  } finally {
    await to.close();
  }
}
