import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export { madeHash, madePackage } from '@stackwright/testing';

/** The repository's own small mirror, signed, made by Spack 1.1.0. */
export const quickstart = fileURLToPath(new URL('../../../stacks/quickstart', import.meta.url));
export const quickstartMirror = join(quickstart, 'mirror');
export const quickstartKey = () => readFileSync(join(quickstart, 'keys', 'quickstart.pub'), 'utf8');

/** Three of those packages in layout v2, as Spack 0.23 laid it out, signed by gpg. */
export const v2Mirror = fileURLToPath(new URL('../fixtures/mirror-v2', import.meta.url));

const shared = fileURLToPath(new URL('../../../../shared/data/golden', import.meta.url));
/** What real tools wrote, on machines that have it. */
export const golden = existsSync(shared) ? shared : undefined;

const folders: string[] = [];

export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'stackwright-test-'));
  folders.push(folder);
  return folder;
}

export function removeTemporaryFolders(): void {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
}

export function copyOf(folder: string): string {
  const copy = join(temporaryFolder(), 'mirror');
  cpSync(folder, copy, { recursive: true });
  return copy;
}
