import type { Define } from '../command.js';
import { print, printJson } from '../context.js';
import { examineMachine } from '../doctor/machine.js';
import { examineStack } from '../doctor/stack.js';
import { RunnerError } from '../exit.js';
import { secretsOf, withoutSecrets } from '../secrets.js';

const marks = { ok: '✓', warning: '!', problem: '✗' } as const;

export const define: Define = (command, context) => {
  command
    .argument('[stack]', 'folder with spack.yaml; without it only this machine is examined')
    .option('--json', 'print {"findings":[{"what","state","message","fix"}]}')
    .addHelpText(
      'after',
      `
✓ is fine, ! will matter to some, ✗ makes the stack's own work fail: then the
exit code is 1. Nothing is changed anywhere.`,
    )
    .action(async (stack: string | undefined, options: { json?: boolean }) => {
      const [machine, own] = await Promise.all([
        examineMachine(context),
        stack === undefined ? [] : examineStack(context, stack),
      ]);
      const secrets = secretsOf(context.env);
      const findings = [...machine, ...own].map((finding) => ({
        ...finding,
        message: withoutSecrets(finding.message, secrets),
        ...(finding.fix ? { fix: withoutSecrets(finding.fix, secrets) } : {}),
      }));
      if (options.json) printJson(context, { findings });
      else {
        const width = Math.max(...findings.map(({ what }) => what.length));
        for (const { what, state, message, fix } of findings) {
          print(context, `${marks[state]} ${what.padEnd(width)}  ${message}`);
          if (fix) print(context, `${' '.repeat(width + 4)}→ ${fix}`);
        }
      }
      const problems = findings.filter(({ state }) => state === 'problem').length;
      if (problems > 0) {
        throw new RunnerError('failed', problems === 1 ? '1 problem.' : `${problems} problems.`);
      }
    });
};
