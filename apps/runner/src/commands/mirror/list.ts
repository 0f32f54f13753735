import { presentPackages } from '@stackwright/buildcache';
import { type ConcreteNode, concreteSpec, format } from '@stackwright/spack-env';
import { eachNode, selectPackages, sortedPackages } from '@stackwright/stack';
import { callerOf } from '../../caller.js';
import type { Define } from '../../command.js';
import { note, print, printJson } from '../../context.js';
import { count, openSource, repeatable, type StoreOptions, storeOptions, viewOption } from './shared.js';

interface Options extends StoreOptions {
  readonly stack: readonly string[];
  readonly long?: boolean;
  readonly json?: boolean;
}

const longForm = '{name}{@version}{variants}{ arch=architecture}';

export const define: Define = (command, context) => {
  viewOption(storeOptions(command), 'only what this index view holds')
    .argument('<mirror>', 'path or URL of the mirror')
    .argument('[specs...]', 'only packages that satisfy one of these (a spec or /HASH)')
    .addOption(repeatable('--stack <dir>', "only what is in this stack's lock (repeatable)"))
    .option('-l, --long', 'whole hashes, architecture and variants')
    .option('--json', 'print {"mirror","packages":[{"name","version","hash","arch"}]}')
    .action(async (url: string, specs: string[], options: Options) => {
      const mirror = await openSource(context, url, options);
      try {
        const filtered = specs.length > 0 || options.stack.length > 0;
        const refs = filtered
          ? await selectPackages(callerOf(context), mirror, { specs, stacks: options.stack })
          : sortedPackages((await presentPackages(mirror, context.signal)).values());
        const wanted = new Map(refs.map((ref) => [ref.hash, ref]));
        // Of each node only what is shown is kept: a mirror may have very many.
        const long = new Map<string, string>();
        const arch = new Map<string, ConcreteNode['arch']>();
        if (options.long || options.json) {
          for await (const node of eachNode(mirror, wanted, context.signal)) {
            if (!wanted.has(node.hash)) continue;
            if (options.json) arch.set(node.hash, node.arch);
            else long.set(node.hash, format(concreteSpec(node), longForm));
          }
        }
        if (options.json) {
          return printJson(context, {
            mirror: mirror.url,
            packages: refs.map((ref) => ({ ...ref, arch: arch.get(ref.hash) })),
          });
        }
        const width = refs.reduce((most, ref) => Math.max(most, ref.name.length + ref.version.length + 1), 0);
        const lines = refs.map((ref) =>
          options.long
            ? `${ref.hash} ${long.get(ref.hash)}`
            : `${`${ref.name}@${ref.version}`.padEnd(width)}  /${ref.hash.slice(0, 7)}`,
        );
        if (lines.length > 0) print(context, lines.join('\n'));
        note(context, `${count(refs.length, 'package')} in ${mirror.url}`);
      } finally {
        await mirror.close();
      }
    });
};
