import { checkMachine, checkStack, secretsOf, withoutSecrets } from '@stackwright/stack';
import { callerOf } from '../caller.js';
import type { Define } from '../command.js';
import { print, printJson, wrapped } from '../context.js';
import { RunnerError } from '../exit.js';
import { type AllowOptions, allowOption, withAllowed } from '../options.js';

const marks = { ok: '✓', warning: '!', problem: '✗' } as const;

export const define: Define = (command, context) => {
  command
    .argument('[stack]', 'folder with spack.yaml; without it only this machine is checked')
    .addOption(allowOption())
    .option('--json', 'print {"findings":[{"what","state","message","fix"}]}')
    .addHelpText(
      'after',
      `
✓ is fine, ! matters to some users, ✗ makes the stack's own work fail: then the
exit code is 1. The mirror that jobs push to is tried with an object of its own,
which is removed again; nothing else is changed anywhere.`,
    )
    .action(async (argument: string | undefined, options: AllowOptions & { json?: boolean }) => {
      const caller = callerOf(withAllowed(context, options), { quiet: options.json });
      const [machine, own] = await Promise.all([
        checkMachine(caller),
        argument === undefined ? [] : checkStack(caller, argument),
      ]);
      const secrets = secretsOf(context.env);
      const findings = [...machine, ...own].map((finding) => ({
        ...finding,
        message: withoutSecrets(finding.message, secrets),
        fix: finding.fix && withoutSecrets(finding.fix, secrets),
      }));
      if (options.json) printJson(context, { findings });
      else {
        const width = Math.max(...findings.map(({ what }) => what.length));
        for (const { what, state, message, fix } of findings) {
          const indent = ' '.repeat(width + 4);
          print(context, `${marks[state]} ${what.padEnd(width)}  ${wrapped(context, message, indent)}`);
          if (fix) print(context, `${indent}→ ${fix}`);
        }
      }
      const problems = findings.filter(({ state }) => state === 'problem').length;
      if (problems > 0) {
        throw new RunnerError('problems', problems === 1 ? '1 problem.' : `${problems} problems.`);
      }
    });
};
