import { constants } from 'node:fs';
import { open, stat, statfs } from 'node:fs/promises';
import { SpackEnvError } from './error.js';

/** Bytes of the largest file of configuration that is read. */
const largest = 16 * 1024 * 1024;
/** Bytes of the largest `spack.lock` that is read; one of 10,000 packages has about 30 MB. */
export const largestLock = 512 * 1024 * 1024;

/** Types of file systems that show the state of processes and of the kernel as files (statfs(2)): proc, sysfs. */
const stateOfKernel = new Set([0x9fa0, 0x62656572]);

/**
 * What is at a path: a plain file, a folder, or neither, such as a pipe, a device, or a file of `/proc`.
 * @returns undefined where nothing is
 */
export async function fileKind(path: string): Promise<'file' | 'folder' | 'other' | undefined> {
  try {
    const found = await stat(path);
    if (found.isDirectory()) return 'folder';
    return found.isFile() && !stateOfKernel.has((await statfs(path)).type) ? 'file' : 'other';
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    if (code === 'EACCES' || code === 'ELOOP') return 'other';
    throw error;
  }
}

/**
 * Reads a file that a stack names. Reading a pipe or a device could take for ever, and `/proc` shows the environment.
 * @param limit bytes
 * @throws SpackEnvError `not-a-file`, `too-large` or `unreadable`; the error of Node where nothing is
 */
export async function readPlainFile(path: string, limit = largest): Promise<string> {
  const kind = await fileKind(path);
  if (kind === 'other') throw refused('not-a-file', path, 'is no plain file that can be read');
  // Something else may be there by now: a pipe must not be waited for.
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch(
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' || error.code === 'ENOTDIR') throw error;
      throw refused('unreadable', path, `can't be read: ${error.code}`);
    },
  );
  try {
    const found = await file.stat();
    if (!found.isFile()) throw refused('not-a-file', path, 'is no plain file');
    if (found.size > limit) {
      throw refused('too-large', path, `has ${found.size} bytes; at most ${limit} are read`);
    }
    return await file.readFile('utf8');
  } finally {
    await file.close();
  }
}

function refused(code: string, file: string, why: string): SpackEnvError {
  const position = { file, line: 1, column: 1 };
  return new SpackEnvError({ severity: 'error', code, message: `${file} ${why}.`, position });
}
