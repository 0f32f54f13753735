import { describe, isHash, type PruneOptions } from '@stackwright/buildcache';
import { readLock, stackFolder } from '@stackwright/stack';
import prettyBytes from 'pretty-bytes';
import type { Define } from '../../command.js';
import { type Context, note, print, printJson } from '../../context.js';
import { RunnerError } from '../../exit.js';
import { timeSpan } from '../../options.js';
import { count, open, readText, repeatable, type StoreOptions, storeOptions } from './shared.js';

interface Options extends StoreOptions {
  readonly stack: readonly string[];
  readonly keep: readonly string[];
  readonly olderThan?: string;
  readonly grace: string;
  readonly delete?: boolean;
  readonly json?: boolean;
}

export const define: Define = (command, context) => {
  storeOptions(command)
    .argument('<mirror>', 'path or URL of the mirror')
    .addOption(repeatable('--stack <dir>', "keep what is in this stack's lock (repeatable)"))
    .addOption(repeatable('--keep <file>', 'keep the hashes in this file, one a line (repeatable)'))
    .option('--older-than <age>', 'delete only packages of this age and more: 30d, 12h')
    .option('--grace <age>', 'leave blobs alone that are younger: someone may be pushing', '24h')
    .option('--delete', 'delete; without it nothing is, only shown')
    .option('--json', 'print {"mirror","packages","blobs","bytes","deleted"}')
    .addHelpText(
      'after',
      '\nWithout --stack, --keep and --older-than all packages stay and only orphans go.\nA registry (oci://) collects its orphans itself: say what to keep.',
    )
    .action((url: string, options: Options) => run(context, url, options));
};

async function run(context: Context, url: string, options: Options): Promise<void> {
  const settings: PruneOptions = {
    keep: await keepList(context, options),
    olderThan: options.olderThan === undefined ? undefined : timeSpan(options.olderThan) * 1000,
    grace: timeSpan(options.grace) * 1000,
    signal: context.signal,
  };
  const mirror = await open(context, url, options);
  try {
    const plan = await mirror.planPrune(settings);
    if (options.delete) await mirror.prune(plan, settings);
    if (options.json) {
      return printJson(context, {
        mirror: mirror.url,
        packages: plan.packages,
        kept: plan.kept,
        blobs: plan.blobs.map(({ key, size }) => ({ key, size })),
        bytes: plan.bytes,
        deleted: options.delete ?? false,
      });
    }
    for (const ref of plan.packages) print(context, describe(ref));
    const what = `${count(plan.packages.length, 'package')} and ${count(plan.blobs.length, 'blob')} (${prettyBytes(plan.bytes)})`;
    note(
      context,
      options.delete
        ? `Deleted ${what}, kept ${count(plan.kept, 'package')}: ${mirror.url}`
        : `Would delete ${what}, keep ${count(plan.kept, 'package')}. To delete: --delete`,
    );
  } finally {
    await mirror.close();
  }
}

async function keepList(context: Context, options: Options): Promise<ReadonlySet<string> | undefined> {
  if (options.stack.length === 0 && options.keep.length === 0) return undefined;
  const keep = new Set<string>();
  for (const stack of options.stack) {
    for (const hash of (await readLock(await stackFolder(context, stack))).nodes.keys()) keep.add(hash);
  }
  for (const file of options.keep) {
    const { text } = await readText(context, file);
    for (const [index, line] of text.split('\n').entries()) {
      const hash = line.trim().replace(/^\//, '');
      if (hash === '' || hash.startsWith('#')) continue;
      if (!isHash(hash))
        throw new RunnerError('usage', `${file}:${index + 1}:1: "${line.trim()}" is no dag hash.`);
      keep.add(hash);
    }
  }
  return keep;
}
