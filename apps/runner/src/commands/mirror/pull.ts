import { resolve } from 'node:path';
import { describe, pullPackage } from '@stackwright/buildcache';
import { selectPackages, type TrustOptions } from '@stackwright/stack';
import pLimit from 'p-limit';
import { callerOf } from '../../caller.js';
import type { Define } from '../../command.js';
import { note, printJson } from '../../context.js';
import {
  count,
  failures,
  openSource,
  repeatable,
  type StoreOptions,
  storeOptions,
  trusted,
  trustOptions,
  viewOption,
} from './shared.js';

interface Options extends StoreOptions, TrustOptions {
  readonly to: string;
  readonly root?: string;
  readonly stack: readonly string[];
  readonly dependencies: boolean;
  readonly json?: boolean;
}

export const define: Define = (command, context) => {
  trustOptions(viewOption(storeOptions(command), 'only what this index view holds'))
    .argument('<mirror>', 'path or URL of the mirror')
    .argument('[specs...]', 'packages that satisfy one of these, with what they need')
    .requiredOption('--to <dir>', 'folder that becomes the root of an install tree')
    .option('--root <path>', 'what the root will be called, when it is moved there later')
    .addOption(repeatable('--stack <dir>', "what is in this stack's lock (repeatable)"))
    .option('--no-dependencies', "without the packages' link and run dependencies")
    .option('--json', 'print {"root","packages":[{"name","version","hash","prefix","outcome"}]}')
    .action(async (url: string, specs: string[], options: Options) => {
      const mirror = await trusted(context, await openSource(context, url, options), options);
      try {
        const refs = await selectPackages(callerOf(context), mirror, {
          specs,
          stacks: options.stack,
          withDependencies: options.dependencies,
          complete: true,
        });
        const to = resolve(context.cwd, options.to);
        const root = (options.root ?? to).replace(/\/+$/, '');
        const failed: { package: (typeof refs)[number]; error: Error }[] = [];
        const packages: object[] = [];
        const limit = pLimit(2);
        await Promise.all(
          refs.map((ref) =>
            limit(async () => {
              const { signal } = context;
              try {
                signal.throwIfAborted();
                const { prefix, outcome } = await pullPackage(mirror, ref, { to, root, signal });
                packages.push({ ...ref, prefix, outcome });
                note(context, `${outcome.padEnd(8)} ${describe(ref)}`);
              } catch (error) {
                failed.push({ package: ref, error: error as Error });
              }
            }),
          ),
        );
        context.signal.throwIfAborted();
        if (options.json) printJson(context, { root, packages });
        note(context, `${count(packages.length, 'package')} in ${to}`);
        failures(failed);
      } finally {
        await mirror.close();
      }
    });
};
