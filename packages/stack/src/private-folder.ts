import { chmod, mkdir, stat } from 'node:fs/promises';
import { StackError } from './error.js';

/**
 * Makes a folder that nobody but this user can look into, whatever the umask says; one that is there is closed, too.
 * @returns whether others could have written into it before
 * @throws StackError for a folder of another user, who could change what is in it at any time
 */
export async function privateFolder(path: string): Promise<boolean> {
  await mkdir(path, { recursive: true, mode: 0o700 });
  const { mode, uid } = await stat(path);
  const self = process.getuid?.();
  if (self !== undefined && uid !== self) {
    // Root may use the folders of others, and must not take them away.
    if (self === 0) return false;
    throw new StackError('work-folder', `${path} belongs to another user.`, {
      hint: 'Choose another folder: --work FOLDER.',
    });
  }
  if ((mode & 0o077) !== 0) await chmod(path, 0o700);
  return (mode & 0o022) !== 0;
}
