import { setFlagsFromString } from 'node:v8';
import type { Define } from '../../command.js';
import { note, printJson } from '../../context.js';
import { exitCode } from '../../exit-code.js';
import { assertSignable, count, open, type StoreOptions, storeOptions, ticker } from './shared.js';

interface Options extends StoreOptions {
  readonly full?: boolean;
  readonly skipBroken?: boolean;
  readonly keys?: boolean;
  readonly json?: boolean;
}

export const define: Define = (command, context) => {
  storeOptions(command)
    .argument('<mirror>', 'path or URL of the mirror')
    .option('--full', 'read every package again, not only those that the index lacks')
    .option('--skip-broken', 'leave out packages that cannot be read (exit code 1 all the same)')
    .option('--keys', 'also write the index of the public keys')
    .option('--json', 'print {"packages","added","removed","kept","broken","outcome"}')
    .action(async (url: string, options: Options) => {
      collectSooner();
      const mirror = await open(context, url, options);
      const progress = ticker(context, 'read');
      try {
        if (options.keys) assertSignable(mirror, 'Leave --keys out.');
        const result = await mirror.updateIndex({
          full: options.full,
          skipBroken: options.skipBroken,
          signal: context.signal,
          onProgress: progress.tick,
        });
        progress.end();
        if (options.keys) await mirror.updateKeyIndex(context.signal);
        if (result.note) note(context, result.note);
        for (const one of result.broken) note(context, `left out ${one.package}: ${one.reason}`);
        if (options.json) printJson(context, result);
        const { packages, added, removed } = result;
        note(
          context,
          `${count(packages, 'package')} in the index, ${added} new, ${removed} gone: ${mirror.url}`,
        );
        if (result.broken.length > 0) process.exitCode = exitCode.failed;
      } finally {
        progress.end();
        await mirror.close();
      }
    });
};

/**
 * Nearly all that reading an index leaves behind is garbage at once. Left alone, V8 takes twice what is in use before it
 * looks; this way an index of 60,000 packages needs 165 MB instead of 275, for 5 % more time.
 */
function collectSooner(): void {
  setFlagsFromString('--semi-space-growth-factor=1');
  setFlagsFromString('--heap-growing-percent=50');
}
