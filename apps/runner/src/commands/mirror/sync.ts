import { copyKeys, type Mirror } from '@stackwright/buildcache';
import { selectPackages, type TrustOptions } from '@stackwright/stack';
import { callerOf } from '../../caller.js';
import type { Define } from '../../command.js';
import { type Context, note, printJson } from '../../context.js';
import { RunnerError } from '../../exit.js';
import { carryViews } from './copy.js';
import {
  count,
  failures,
  openSource,
  openTarget,
  repeatable,
  type StoreOptions,
  storeOptions,
  ticker,
  trusted,
  trustOptions,
  viewOption,
} from './shared.js';

interface Options extends StoreOptions, TrustOptions {
  readonly stack: readonly string[];
  readonly dependencies: boolean;
  readonly delete: boolean;
  readonly json?: boolean;
}

export const define: Define = (command, context) => {
  trustOptions(viewOption(storeOptions(command), 'only what this index view holds; it becomes the only view'))
    .argument('<from>', 'path or URL of the mirror to read')
    .argument('<to>', 'path or URL of the mirror that becomes like it')
    .argument('[specs...]', 'packages that satisfy one of these, with what they need; else all')
    .addOption(repeatable('--stack <dir>', "what is in this stack's lock (repeatable)"))
    .option('--no-dependencies', "without the packages' link and run dependencies")
    .option('--no-delete', 'leave there what is not wanted')
    .option('--json', 'print {"from","to","packages":[{"name","version","hash","outcome"}],"deleted"}')
    .addHelpText(
      'after',
      '\nAfterwards the other mirror has these packages, their public keys and an index\nof them, and nothing else. Nobody else should write to it meanwhile.',
    )
    .action((from: string, to: string, specs: string[], options: Options) =>
      sync(context, from, to, specs, options),
    );
};

async function sync(
  context: Context,
  fromUrl: string,
  toUrl: string,
  specs: readonly string[],
  options: Options,
): Promise<void> {
  const { signal } = context;
  const from = await trusted(context, await openSource(context, fromUrl, options), options);
  const to = await openTarget(context, toUrl, options);
  const progress = ticker(context, 'copied');
  try {
    if (from.url === to.url)
      throw new RunnerError('usage', `${from.url} is both mirrors.`, { hint: 'Give two.' });
    const refs = await selectPackages(callerOf(context), from, {
      specs,
      stacks: options.stack,
      withDependencies: options.dependencies,
    });
    if (refs.length === 0) {
      throw new RunnerError('usage', `${from.url} has none of these packages; ${to.url} was left as it is.`, {
        hint: 'See: stackwright mirror list',
      });
    }
    const { outcomes, failed } = await to.copyFrom(from, refs, { signal, onProgress: progress.tick });
    progress.end();
    // Half a copy is no reason to delete anything.
    failures(failed);
    await copyKeys(from, to, signal);
    const deleted = options.delete ? await deleteOthers(to, new Set(refs.map((ref) => ref.hash)), signal) : 0;
    await to.updateIndex({ keepReplaced: options.delete ? 0 : undefined, signal });
    await carryViews(context, from, to, options.delete);
    if (options.json) {
      printJson(context, {
        from: from.url,
        to: to.url,
        packages: refs.map((ref) => ({ ...ref, outcome: outcomes.get(ref.hash) })),
        deleted,
      });
    }
    const copied = [...outcomes.values()].filter((one) => one === 'copied').length;
    note(
      context,
      `${count(copied, 'package')} copied, ${refs.length - copied} there before, ${deleted} deleted: ${to.url}`,
    );
  } finally {
    progress.end();
    await from.close();
    await to.close();
  }
}

/** Deletes packages that are not to be kept, and blobs that no manifest names. Returns how many packages went. */
async function deleteOthers(to: Mirror, keep: ReadonlySet<string>, signal: AbortSignal): Promise<number> {
  const settings = { keep, grace: 0, signal };
  const plan = await to.planPrune(settings);
  await to.prune(plan, settings);
  return plan.packages.length;
}
