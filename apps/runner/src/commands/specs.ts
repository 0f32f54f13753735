import { formatFinding, loadEnvironment, SpackEnvError } from '@stackwright/spack-env';
import type { Define } from '../command.js';
import { note, print, printJson } from '../context.js';
import { RunnerError } from '../exit.js';
import { loadOptions, type StackOptions, stackOptions } from '../stack-options.js';

export const define: Define = (command, context) => {
  stackOptions(command)
    .argument('<stack>', 'folder with spack.yaml')
    .option('--group <name>', 'only the specs of this group')
    .option('--json', 'print JSON')
    .action(async (stack: string, options: StackOptions & { json?: boolean; group?: string }) => {
      const environment = await loadEnvironment(stack, loadOptions(options, context));
      const errors = environment.findings.filter(({ severity }) => severity === 'error');
      if (errors.length > 0) throw new SpackEnvError(errors);
      for (const finding of environment.findings) {
        if (finding.severity === 'warning') note(context, `Warning: ${formatFinding(finding)}`);
      }
      const { group } = options;
      const names = environment.groups.map(({ name }) => name);
      if (group !== undefined && !names.includes(group)) {
        throw new RunnerError(
          'input',
          `The stack has no group ${group}.`,
          `It has ${names.join(', ') || 'none'}.`,
        );
      }
      const specs = environment.specs.filter((spec) => group === undefined || spec.group === group);
      if (options.json)
        printJson(context, { specs: specs.map(({ text, group }) => ({ spec: text, group })) });
      else for (const { text } of specs) print(context, `${text}\n`);
    });
};
