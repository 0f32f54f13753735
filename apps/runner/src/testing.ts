import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openV3Mirror, v3 } from '@stackwright/buildcache';

/** Makes a folder that packages of a mirror were pulled into look like an install tree of Spack. */
export async function recordInstalled(
  root: string,
  mirror: string,
  pulled: readonly { readonly hash: string; readonly prefix: string }[],
  isExplicit: (prefix: string) => boolean = () => true,
): Promise<void> {
  const prefixes = new Map(pulled.map(({ hash, prefix }) => [hash, prefix]));
  const { databases } = (await (await openV3Mirror(mirror)).indexManifest())!;
  const database = JSON.parse(readFileSync(join(mirror, v3.blob(databases.get(8)!.digest)), 'utf8'));
  for (const [hash, entry] of Object.entries<Record<string, unknown>>(database.database.installs)) {
    const path = prefixes.get(hash) ?? null;
    Object.assign(entry, { path, installed: path !== null, explicit: isExplicit(path ?? '') });
  }
  mkdirSync(join(root, '.spack-db'));
  writeFileSync(join(root, '.spack-db', 'index.json'), JSON.stringify(database));
}
