import { dagHashOf, readNode } from '@stackwright/spack-env';

/** An entry of a made package's tar, as the build cache packs it. */
interface MadeItem {
  readonly entry: {
    readonly name: string;
    readonly type: 'file' | 'folder';
    readonly mode: number;
    readonly size: number;
  };
  readonly content: readonly Buffer[];
}

/** A package that can be pushed to a build cache. */
interface MadePackage {
  readonly name: string;
  readonly version: string;
  readonly hash: string;
  readonly specText: string;
  readonly items: () => AsyncGenerator<MadeItem>;
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
): MadePackage {
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
    items: async function* (): AsyncGenerator<MadeItem> {
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
