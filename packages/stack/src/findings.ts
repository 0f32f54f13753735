import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  compareLock,
  type Environment,
  type Finding,
  type LoadOptions,
  loadEnvironment,
  parseLock,
  SpackEnvError,
} from '@stackwright/spack-env';

/**
 * Everything that is wrong or doubtful in a stack: its manifest with all that it includes, its lock, and how the two fit.
 * A manifest or lock that cannot be read at all has findings, too.
 * @param path the folder with `spack.yaml`, or the file itself
 */
export async function findingsOf(path: string, options: LoadOptions): Promise<readonly Finding[]> {
  try {
    const environment = await loadEnvironment(path, options);
    return [...environment.findings, ...(await lockFindings(environment))];
  } catch (error) {
    if (error instanceof SpackEnvError) return error.findings;
    throw error;
  }
}

/** A lock is not needed, but one that is there must be whole, and of this manifest. */
async function lockFindings(environment: Environment): Promise<readonly Finding[]> {
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
    if (error instanceof SpackEnvError) return error.findings;
    throw error;
  }
}
