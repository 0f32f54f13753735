import { setFlagsFromString } from 'node:v8';
import type { IndexResult, Mirror, ViewUpdate } from '@stackwright/buildcache';
import { findSigner, type SignerOptions, selectPackages } from '@stackwright/stack';
import { callerOf } from '../../caller.js';
import type { Define } from '../../command.js';
import { type Context, note, printJson } from '../../context.js';
import { RunnerError } from '../../exit.js';
import { exitCode } from '../../exit-code.js';
import {
  assertHoldsKeys,
  count,
  open,
  repeatable,
  type StoreOptions,
  signerOptions,
  storeOptions,
  ticker,
  viewOption,
} from './shared.js';

interface Options extends StoreOptions, SignerOptions {
  readonly stack: readonly string[];
  readonly append?: boolean;
  readonly force?: boolean;
  readonly full?: boolean;
  readonly skipBroken?: boolean;
  readonly keys?: boolean;
  readonly json?: boolean;
}

export const define: Define = (command, context) => {
  signerOptions(viewOption(storeOptions(command), 'write this index view, not the whole index'))
    .argument('<mirror>', 'path or URL of the mirror')
    .argument('[specs...]', 'the view holds packages that satisfy one of these, with what they need')
    .addOption(repeatable('--stack <dir>', "the view holds what is in this stack's lock (repeatable)"))
    .option('--append', 'add to a view that exists')
    .option('--force', 'replace a view that exists')
    .option('--full', 'read every package again, not only those that the index lacks')
    .option('--skip-broken', 'leave out packages that cannot be read (exit code 1 all the same)')
    .option('--keys', 'also write the index of the public keys')
    .option('--json', 'print {"packages","added","removed","kept","broken","newer","signed","outcome"}')
    .addHelpText('after', '\n--view alone drops from the view what the mirror no longer has.')
    .action((url: string, specs: string[], options: Options) => run(context, url, specs, options));
};

async function run(context: Context, url: string, specs: readonly string[], options: Options): Promise<void> {
  assertApplicable(specs, options);
  collectSooner();
  const { view, ...reached } = options;
  const signer = await findSigner(callerOf(context), options);
  const mirror = await open(context, url, reached);
  const progress = ticker(context, 'read');
  const write = (update?: ViewUpdate) =>
    mirror.updateIndex({
      view: update,
      signer,
      signNew: true,
      full: options.full,
      skipBroken: options.skipBroken,
      signal: context.signal,
      onProgress: progress.tick,
    });
  try {
    if (options.keys) assertHoldsKeys(mirror, 'Leave --keys out.');
    // Before anything is written: a registry refuses views, and a spec may have no package.
    const update = await viewUpdate(context, mirror.withView(view), specs, options);
    const results: IndexResult[] = [];
    if (view === undefined) results.push(await write());
    if (update) results.push(await write(update));
    progress.end();
    if (options.keys) await mirror.updateKeyIndex(context.signal);
    for (const result of results) {
      if (result.note) note(context, result.note);
      for (const one of result.broken) note(context, `left out ${one.package}: ${one.reason}`);
      for (const one of result.newer) note(context, `left out ${one}: a newer Spack wrote it`);
      const { packages, added, removed } = result;
      const where = update && result === results.at(-1) ? `the index view "${update.name}"` : 'the index';
      note(
        context,
        `${count(packages, 'package')} in ${where}, ${added} new, ${removed} gone: ${mirror.url}`,
      );
    }
    if (options.json) printJson(context, results[0]);
    if (results.some((result) => result.broken.length > 0)) process.exitCode = exitCode.failed;
  } finally {
    progress.end();
    await mirror.close();
  }
}

async function viewUpdate(
  context: Context,
  mirror: Mirror,
  specs: readonly string[],
  options: Options,
): Promise<ViewUpdate | undefined> {
  const name = mirror.view;
  if (name === undefined) return undefined;
  if (specs.length === 0 && options.stack.length === 0) return { name, mode: 'refresh' };
  const refs = await selectPackages(callerOf(context), mirror.withView(undefined), {
    specs,
    stacks: options.stack,
    withDependencies: true,
  });
  const mode = options.force ? 'replace' : options.append ? 'append' : 'create';
  return { name, mode, packages: new Set(refs.map((ref) => ref.hash)) };
}

function assertApplicable(specs: readonly string[], options: Options): void {
  const chosen = specs.length > 0 || options.stack.length > 0;
  if (chosen && options.view === undefined) {
    throw new RunnerError(
      'usage',
      'The whole index holds every package of the mirror; only a view is chosen.',
      {
        hint: 'Name the view with --view, or leave the specs and --stack out.',
      },
    );
  }
  if (options.append && options.force)
    throw new RunnerError('usage', '--append and --force exclude each other.', { hint: 'Give one of them.' });
  if ((options.append || options.force) && !chosen) {
    throw new RunnerError('usage', 'It is not said what the view is to hold.', {
      hint: 'Name specs, or a stack with --stack.',
    });
  }
}

/**
 * Nearly all that reading an index leaves behind is garbage at once. Left alone, V8 takes twice what is in use before it
 * looks; this way an index of 60,000 packages needs 165 MB instead of 275, for 5 % more time.
 */
function collectSooner(): void {
  setFlagsFromString('--semi-space-growth-factor=1');
  setFlagsFromString('--heap-growing-percent=50');
}
