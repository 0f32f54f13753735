import { presentPackages } from '@stackwright/buildcache';
import { concreteSpec, format } from '@stackwright/spack-env';
import type { Define } from '../../command.js';
import { note, print, printJson } from '../../context.js';
import {
  count,
  nodesOf,
  open,
  repeatable,
  type StoreOptions,
  select,
  sorted,
  storeOptions,
} from './shared.js';

interface Options extends StoreOptions {
  readonly stack: readonly string[];
  readonly long?: boolean;
  readonly json?: boolean;
}

export const define: Define = (command, context) => {
  storeOptions(command)
    .argument('<mirror>', 'path or URL of the mirror')
    .argument('[specs...]', 'only packages that satisfy one of these (a spec or /HASH)')
    .addOption(repeatable('--stack <dir>', "only what is in this stack's lock (repeatable)"))
    .option('-l, --long', 'whole hashes, architecture and variants')
    .option('--json', 'print {"mirror","packages":[{"name","version","hash","arch"}]}')
    .action(async (url: string, specs: string[], options: Options) => {
      const mirror = await open(context, url, options);
      try {
        const filtered = specs.length > 0 || options.stack.length > 0;
        const refs = filtered
          ? await select(context, mirror, specs, options.stack)
          : sorted((await presentPackages(mirror, context.signal)).values());
        const detailed = options.long || options.json;
        const { nodes } = detailed
          ? await nodesOf(mirror, new Map(refs.map((ref) => [ref.hash, ref])), context.signal)
          : { nodes: new Map() };
        if (options.json) {
          return printJson(context, {
            mirror: mirror.url,
            packages: refs.map((ref) => ({ ...ref, arch: nodes.get(ref.hash)?.arch })),
          });
        }
        const width = Math.max(0, ...refs.map((ref) => ref.name.length + ref.version.length + 1));
        const lines = refs.map((ref) => {
          const node = nodes.get(ref.hash);
          if (node)
            return `${ref.hash} ${format(concreteSpec(node), '{name}{@version}{variants}{ arch=architecture}')}`;
          return `${`${ref.name}@${ref.version}`.padEnd(width)}  /${ref.hash.slice(0, 7)}`;
        });
        if (lines.length > 0) print(context, lines.join('\n'));
        note(context, `${count(refs.length, 'package')} in ${mirror.url}`);
      } finally {
        await mirror.close();
      }
    });
};
