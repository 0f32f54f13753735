import { access } from 'node:fs/promises';

/** @param mode what has to be allowed, as `access` takes it */
export function isThere(path: string, mode?: number): Promise<boolean> {
  return access(path, mode).then(
    () => true,
    () => false,
  );
}
