import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { dagHashOf, readNode } from '@stackwright/spack-env';
import type { PackageSource, PackedLayer } from './mirror-writer.js';
import { packedBytes } from './pack/pack.js';
import type { TarItem } from './pack/tar.js';
import { layoutJson, v3 } from './v3/layout.js';
import { formatManifest, packageManifest } from './v3/manifest.js';
import { specBlob } from './v3/spec-blob.js';

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

/** A little package that was never built: a spec of one node, and its dependencies' nodes, and one file. */
export function madePackage(
  name: string,
  options: {
    readonly hash?: string;
    readonly content?: Buffer;
    readonly needs?: readonly string[];
    /** Of the spec file; the hash of a package of version 5 or 6 follows from its content, which has no dependencies then. */
    readonly specVersion?: 4 | 5 | 6;
  } = {},
): PackageSource {
  const version = options.specVersion ?? 4;
  const arch = { platform: 'linux', platform_os: 'debian12', target: 'x86_64' };
  const own = { name, version: '1.0', arch, namespace: 'made', parameters: {} };
  const hash =
    options.hash ??
    (version === 4 ? undefined : dagHashOf(readNode(madeHash(name), own), version)) ??
    madeHash(name);
  const dependencies = (options.needs ?? []).map((other) => ({
    name: other,
    hash: madeHash(other),
    parameters: { deptypes: ['link'], virtuals: [] },
  }));
  const nodes = [
    version === 4 ? { ...own, dependencies, hash } : { ...own, hash },
    ...(options.needs ?? []).map((other) => ({
      name: other,
      version: '1.0',
      arch,
      namespace: 'made',
      parameters: {},
      hash: madeHash(other),
    })),
  ];
  const content = options.content ?? Buffer.from(`content of ${name}\n`);
  const prefix = `opt/made/${name}-1.0-${hash}`;
  const info = Buffer.from(
    `{sbang_install_path: /opt/made/bin/sbang, buildpath: /opt/made, spackprefix: /spack, relative_prefix: ${name}-1.0-${hash}, hardlinks_deduped: true, hash_to_prefix: {${hash}: /${prefix}}, relocate_binaries: [], relocate_links: [], relocate_textfiles: []}\n`,
  );
  return {
    name,
    version: '1.0',
    hash,
    // Hashes of spec file 4 do not follow from the content: these are made of the name alone.
    specText: JSON.stringify({ spec: { _meta: { version }, nodes }, buildcache_layout_version: 2 }),
    items: async function* (): AsyncGenerator<TarItem> {
      const folder = (path: string) => ({
        entry: { name: path, type: 'folder' as const, mode: 0o755, size: 0 },
        content: [],
      });
      yield folder('opt');
      yield folder('opt/made');
      yield folder(prefix);
      yield {
        entry: { name: `${prefix}/file`, type: 'file', mode: 0o644, size: content.length },
        content: [content],
      };
      yield folder(`${prefix}/.spack`);
      yield {
        entry: { name: `${prefix}/.spack/binary_distribution`, type: 'file', mode: 0o644, size: info.length },
        content: [info],
      };
    },
  };
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

/** A dag hash made of a name: always the same, and valid. */
export function madeHash(name: string): string {
  const alphabet = 'abcdefghijklmnopqrstuvwxyz234567';
  let state = 2166136261;
  let hash = '';
  for (let at = 0; hash.length < 32; at++) {
    state = Math.imul(state ^ name.charCodeAt(at % name.length) ^ at, 16777619) >>> 0;
    hash += alphabet[(state >>> 7) % 32];
  }
  return hash;
}
