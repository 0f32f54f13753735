import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { openV3Mirror, packPrefix } from '@stackwright/buildcache';
import type { ConcreteNode } from '@stackwright/spack-env';
import { madeHash } from '@stackwright/testing';
import { type PackageBlob, packageBlob } from '../src/index.js';

/** A file of a made package: its content, an executable one with `program`, or a link. */
export type MadeFile = string | Buffer | { readonly program: string | Buffer } | { readonly link: string };

export interface MadePackage {
  readonly name: string;
  /** By path below the prefix. */
  readonly files: Readonly<Record<string, MadeFile>>;
  /** Names of packages whose prefixes stand in the files. */
  readonly needs?: readonly string[];
  readonly target?: string;
}

/** A padded install tree of packages that were never built, and the mirror that they are pushed to. */
export class MadeTree {
  readonly root: string;
  /** Where Spack writes `sbang`: below the root without its padding. */
  readonly sbang: string;

  constructor(private readonly folder: string) {
    const short = join(folder, 'opt');
    this.root = `${short}${'/__spack_path_placeholder__'.repeat(5)}`;
    this.sbang = `${short}/bin/sbang`;
  }

  prefix(name: string): string {
    return `${this.root}/${name}-1-${madeHash(name)}`;
  }

  /** Writes, packs and pushes packages, and gives them as the mirror has them. */
  async push(made: readonly MadePackage[]): Promise<PackageBlob[]> {
    const mirror = await openV3Mirror(join(this.folder, 'mirror'));
    const blobs: PackageBlob[] = [];
    for (const one of made) {
      const prefix = this.#write(one);
      const { name, target = 'x86_64' } = one;
      const hash = madeHash(name);
      const ref = { name, version: '1', hash };
      const arch = { platform: 'linux', platform_os: 'debian12', target };
      // Hashes of spec file 4 do not follow from the content: this one is made of the name.
      const spec = { _meta: { version: 4 }, nodes: [{ ...ref, arch, parameters: {} }] };
      const info = {
        root: this.root,
        sbangPath: this.sbang,
        spackPrefix: '/spack',
        relativePrefix: prefix.slice(this.root.length + 1),
        prefixes: new Map([name, ...(one.needs ?? [])].map((other) => [madeHash(other), this.prefix(other)])),
      };
      const specText = JSON.stringify({ spec, buildcache_layout_version: 2 });
      await mirror.push({ ...ref, specText, items: () => packPrefix(prefix, info) }, { force: true });
      const node: ConcreteNode = {
        ...ref,
        namespace: 'made',
        external: undefined,
        arch: { platform: 'linux', os: 'debian12', target },
        parameters: {},
        dependencies: (one.needs ?? []).map((other) => ({
          hash: madeHash(other),
          name: other,
          types: ['run'],
        })),
      } as unknown as ConcreteNode;
      blobs.push(packageBlob(mirror, node, (await mirror.package(ref)).manifest));
    }
    return blobs;
  }

  #write({ name, files }: MadePackage): string {
    const prefix = this.prefix(name);
    mkdirSync(join(prefix, '.spack'), { recursive: true });
    for (const [path, file] of Object.entries(files)) {
      const to = join(prefix, path);
      mkdirSync(dirname(to), { recursive: true });
      if (typeof file === 'object' && 'link' in file) symlinkSync(file.link, to);
      else {
        const program = typeof file === 'object' && 'program' in file;
        writeFileSync(to, program ? file.program : file);
        chmodSync(to, program ? 0o755 : 0o644);
      }
    }
    return prefix;
  }
}
