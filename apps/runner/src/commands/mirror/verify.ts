import { verifyMirror } from '@stackwright/buildcache';
import { indexMemory, selectPackages, type TrustOptions } from '@stackwright/stack';
import { callerOf } from '../../caller.js';
import type { Define } from '../../command.js';
import { note, print, printJson } from '../../context.js';
import { exitCode } from '../../exit-code.js';
import { maxAgeOption } from '../../options.js';
import {
  count,
  openSource,
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
  readonly maxAge?: number;
  readonly shallow?: boolean;
  readonly json?: boolean;
}

export const define: Define = (command, context) => {
  trustOptions(viewOption(storeOptions(command), 'only this index view and what it holds'))
    .argument('<mirror>', 'path or URL of the mirror')
    .argument('[specs...]', 'only packages that satisfy one of these (a spec or /HASH)')
    .addOption(repeatable('--stack <dir>', "only what is in this stack's lock (repeatable)"))
    .addOption(maxAgeOption())
    .option('--shallow', 'check signatures, specs and dependencies, but do not read the tarballs')
    .option('--json', 'print {"mirror","packages","findings":[{"what","code","message","severity"}]}')
    .addHelpText('after', '\nExit code 1 when something is wrong; warnings alone do not count.')
    .action(async (url: string, specs: string[], options: Options) => {
      const mirror = await trusted(context, await openSource(context, url, options), options);
      const progress = ticker(context, 'verified');
      try {
        const filtered = specs.length > 0 || options.stack.length > 0;
        const { packages, findings } = await verifyMirror(mirror, {
          packages: filtered
            ? await selectPackages(callerOf(context), mirror, { specs, stacks: options.stack })
            : undefined,
          shallow: options.shallow,
          freshness: { memory: indexMemory(context.env), maxAge: options.maxAge },
          signal: context.signal,
          onProgress: progress.tick,
        });
        progress.end();
        const errors = findings.filter((one) => one.severity === 'error').length;
        if (options.json) printJson(context, { mirror: mirror.url, packages, findings });
        else for (const one of findings) print(context, `${one.severity}: ${one.message}`);
        note(context, `${count(packages, 'package')} verified, ${count(errors, 'error')}: ${mirror.url}`);
        if (errors > 0) process.exitCode = exitCode.failed;
      } finally {
        await mirror.close();
      }
    });
};
