import {
  causeText,
  differenceText,
  type ExplainedPackage,
  type Explanation,
  explainStack,
  type NamedPackage,
  type WhyOptions,
} from '@stackwright/stack';
import { openGroups } from '../builder.js';
import { callerOf } from '../caller.js';
import type { Define } from '../command.js';
import { print, printJson } from '../context.js';
import {
  type AllowOptions,
  allowOption,
  collect,
  groupOption,
  offlineOption,
  withAllowed,
} from '../options.js';

export const define: Define = (command, context) => {
  command
    .argument('<stack>', 'folder with spack.yaml and spack.lock')
    .argument('[spec]', 'explain this package too: NAME, NAME@VERSION or /HASH')
    .option('--against <revision>', 'compare with the lock of this git revision instead of the mirrors')
    .option('--mirror <url>', "compare with this mirror (default: the stack's own mirrors)")
    .addOption(offlineOption())
    .addOption(allowOption())
    .addOption(groupOption('look at this group and what it needs only'))
    .option('--trust <file>', 'public key whose signatures count (repeatable)', collect, [])
    .option('--unsigned', 'count packages without signatures too')
    .option('--json', 'print the explanation as JSON')
    .action(
      async (
        argument: string,
        spec: string | undefined,
        options: Omit<WhyOptions, 'spec'> &
          AllowOptions & { json?: boolean; group: string[]; offline?: boolean },
      ) => {
        const caller = callerOf(withAllowed(context, options));
        const stack = await openGroups(caller, argument, options);
        const explained = await explainStack(caller, stack, { ...options, spec });
        if (options.json) printJson(context, explained);
        else print(context, textOf(explained));
      },
    );
};

function textOf({ against, built, packages, causes, refused, asked }: Explanation): string {
  if (asked) return asked.map(packageText).join('\n');
  const where = against.length > 0 ? ` Compared with ${against.join(', ')}.` : ' The stack has no mirror.';
  return [
    `${built} of ${packages} packages have to be built.${where}`,
    ...causes.map((one) => `  ${causeText(one)}`),
    ...refused.map(({ reason, packages: count }) => `  ${reason}: ${count} package${count === 1 ? '' : 's'}`),
  ].join('\n');
}

function packageText({ state, reason, nearest, differences, ways, ...self }: ExplainedPackage): string {
  if (state === 'there') return `${title(self)} is not built: ${reason}`;
  if (state === 'refused') return `${title(self)} is built again: ${reason}`;
  const lines = [
    nearest ? `nearest: ${title(nearest)}` : `no other ${self.name} is there`,
    ...differences.map(differenceText),
    ...ways.map((way) => `changed below it: ${way.slice(1).map(title).join(' → ')}`),
  ];
  return [`${title(self)} has to be built:`, ...lines.map((line) => `  ${line}`)].join('\n');
}

function title({ name, version, hash }: NamedPackage): string {
  return `${name}@${version}/${hash.slice(0, 7)}`;
}
