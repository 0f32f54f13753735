import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { PackageSource, PackedLayer } from './mirror-writer.js';
import { packedBytes } from './pack/pack.js';
import { layoutJson, v3 } from './v3/layout.js';
import { formatManifest, packageManifest } from './v3/manifest.js';
import { specBlob } from './v3/spec-blob.js';

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

/** Puts a package into a mirror as somebody would who does not use this library: unchecked, unsigned, without statement. */
export async function forge(folder: string, source: PackageSource): Promise<void> {
  const chunks: Buffer[] = [];
  let packed: PackedLayer | undefined;
  for await (const chunk of packedBytes(source.items(), (done) => (packed = done))) chunks.push(chunk);
  const spec = specBlob(source.specText, source.name);
  const write = (key: string, bytes: Buffer | string) => {
    mkdirSync(dirname(join(folder, key)), { recursive: true });
    writeFileSync(join(folder, key), bytes);
  };
  const tarball = packed?.descriptor ?? spec.descriptor;
  write(v3.blob(tarball.digest), Buffer.concat(chunks));
  write(v3.blob(spec.descriptor.digest), spec.bytes);
  write(v3.spec(source), formatManifest(packageManifest(tarball, spec.descriptor)));
  write(v3.layout, layoutJson);
}
