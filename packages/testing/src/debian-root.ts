import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';

/**
 * Makes a minimal Debian in a folder, of this machine's release. Needs root, debootstrap and unshare.
 * @param packages Debian packages that it has besides
 */
export async function makeDebianRoot(folder: string, packages: readonly string[] = []): Promise<void> {
  const release = /^VERSION_CODENAME=(.*)$/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? 'stable';
  const include = packages.length > 0 ? [`--include=${packages.join(',')}`] : [];
  // It mounts /proc below the folder. In a namespace of its own the mount ends with it, also when it is stopped:
  // whoever deletes the folder would walk into the machine's own /proc otherwise.
  const own = ['--mount', '--propagation', 'private', '--'];
  await promisify(execFile)(
    'unshare',
    [...own, 'debootstrap', '--variant=minbase', ...include, release, folder],
    {
      maxBuffer: 64 * 1024 * 1024,
    },
  );
}
