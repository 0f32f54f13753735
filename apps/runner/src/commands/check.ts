import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  compareLock,
  type Environment,
  type Finding,
  formatFinding,
  loadEnvironment,
  parseLock,
  SpackEnvError,
} from '@stackwright/spack-env';
import type { Define } from '../command.js';
import { type Context, print, printJson } from '../context.js';
import { RunnerError } from '../exit.js';
import { loadOptions, type StackOptions, stackOptions } from '../stack-options.js';

export const define: Define = (command, context) => {
  stackOptions(command)
    .argument('<stack>', 'folder with spack.yaml')
    .option('--json', 'print JSON')
    .action(async (stack: string, options: StackOptions & { json?: boolean }) => {
      const findings = await allFindings(stack, options, context);
      if (options.json) printJson(context, { findings });
      else for (const finding of findings) print(context, withSeverity(finding));
      const errors = findings.filter(({ severity }) => severity === 'error').length;
      if (!options.json && findings.length === 0) print(context, 'Nothing to complain about.\n');
      if (errors > 0) throw new RunnerError('input', errors === 1 ? '1 error.' : `${errors} errors.`);
    });
};

const withSeverity = (finding: Finding): string =>
  formatFinding({ ...finding, message: `${finding.severity}: ${finding.message}` });

/** A manifest or lock that cannot be read at all has findings, too. */
async function allFindings(
  stack: string,
  options: StackOptions,
  context: Context,
): Promise<readonly Finding[]> {
  try {
    const environment = await loadEnvironment(stack, loadOptions(options, context));
    return [...environment.findings, ...(await lockFindings(environment))];
  } catch (error) {
    if (error instanceof SpackEnvError) return error.findings;
    throw error;
  }
}

/** A lock is not needed, but one that is there must be whole, and of this manifest. */
async function lockFindings(environment: Environment): Promise<Finding[]> {
  const file = join(environment.folder, 'spack.lock');
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (text === undefined) return [];
  try {
    const { missing, extra } = compareLock(environment, parseLock(text, file));
    const stale = (message: string, position?: Finding['position']): Finding => ({
      severity: 'warning',
      code: 'stale-lock',
      message,
      position,
      hint: 'Concretize again.',
    });
    return [
      ...missing.map((root) => stale(`"${root.text}" is not in spack.lock.`, root.at)),
      ...extra.map((root) =>
        stale(`spack.lock still has "${root.spec}", which the manifest does not ask for.`),
      ),
    ];
  } catch (error) {
    if (error instanceof SpackEnvError) return [...error.findings];
    throw error;
  }
}
