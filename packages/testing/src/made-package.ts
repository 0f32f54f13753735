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
    /** What it links. */
    readonly needs?: readonly string[];
    /** Of the spec file; hashes of version 5 or 6 follow from the content. */
    readonly specVersion?: 4 | 5 | 6;
  } = {},
): MadePackage {
  const version = options.specVersion ?? 4;
  const needed = (options.needs ?? []).map((other) => madeNode(other, version, []));
  const own = madeNode(name, version, needed, options.hash);
  const { hash } = own;
  const nodes = [...new Map([own, ...needed].map((node) => [node.hash, node])).values()];
  const content = options.content ?? Buffer.from(`content of ${name}\n`);
  const prefix = `opt/made/${name}-1.0-${hash}`;
  const info = Buffer.from(
    `{sbang_install_path: /opt/made/bin/sbang, buildpath: /opt/made, spackprefix: /spack, relative_prefix: ${name}-1.0-${hash}, hardlinks_deduped: true, hash_to_prefix: {${hash}: /${prefix}}, relocate_binaries: [], relocate_links: [], relocate_textfiles: []}\n`,
  );
  return {
    name,
    version: '1.0',
    hash,
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

interface MadeNode {
  readonly name: string;
  readonly hash: string;
}

/** The node of a made package as spec files hold it. Hashes of version 4 are made of the name alone. */
function madeNode(name: string, version: number, needs: readonly MadeNode[], given?: string): MadeNode {
  const arch = { platform: 'linux', platform_os: 'debian12', target: 'x86_64' };
  const own = { name, version: '1.0', arch, namespace: 'made', parameters: {} };
  const dependencies = needs.map((other) => ({
    name: other.name,
    hash: other.hash,
    parameters: { deptypes: ['link'], virtuals: [] },
  }));
  const content = version === 4 || needs.length > 0 ? { ...own, dependencies } : own;
  const follows = version === 4 ? undefined : dagHashOf(readNode(madeHash(name), content), version);
  return { ...content, hash: given ?? follows ?? madeHash(name) };
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
