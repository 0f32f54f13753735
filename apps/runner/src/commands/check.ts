import { resolve } from 'node:path';
import { type Finding, formatFinding } from '@stackwright/spack-env';
import { findingsOf } from '@stackwright/stack';
import type { Define } from '../command.js';
import { print, printJson } from '../context.js';
import { RunnerError } from '../exit.js';
import { loadOptions, type StackOptions, stackOptions } from '../stack-options.js';

export const define: Define = (command, context) => {
  stackOptions(command)
    .argument('<stack>', 'folder with spack.yaml')
    .option('--json', 'print JSON')
    .action(async (stack: string, options: StackOptions & { json?: boolean }) => {
      const findings = await findingsOf(resolve(context.cwd, stack), loadOptions(options, context));
      if (options.json) printJson(context, { findings });
      else for (const finding of findings) print(context, withSeverity(finding));
      const errors = findings.filter(({ severity }) => severity === 'error').length;
      if (!options.json && findings.length === 0) print(context, 'Nothing to complain about.\n');
      if (errors > 0) throw new RunnerError('findings', errors === 1 ? '1 error.' : `${errors} errors.`);
    });
};

const withSeverity = (finding: Finding): string =>
  formatFinding({ ...finding, message: `${finding.severity}: ${finding.message}` });
