import { execFileSync } from 'node:child_process';
import { chmodSync, linkSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { digestOf } from '@stackwright/oci';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import {
  formatBuildInfo,
  openV3Mirror,
  type PackedLayer,
  type PackInfo,
  packedBytes,
  packPrefix,
  parseBuildInfo,
  v3,
} from '../index.js';
import { golden, quickstartMirror, removeTemporaryFolders, temporaryFolder } from '../testing.js';
import { gzip } from './gzip.js';

afterEach(removeTemporaryFolders);

describe('packing a prefix again', () => {
  it.each([
    ['quickstart', quickstartMirror],
    ...(golden ? [['golden', `${golden}/mirror-v3-signed`] as const] : []),
  ] as const)('gives the tar bytes of Spack, for each package of the %s mirror', async (_, folder) => {
    const mirror = await openV3Mirror(folder);
    for await (const ref of mirror.packages()) {
      const { tarball } = (await mirror.package(ref)).manifest;
      const tar = gunzipSync(readFileSync(join(folder, v3.blob(tarball.digest))));
      const at = temporaryFolder();
      execFileSync('tar', ['-xf', '-', '-C', at], { input: tar });
      const listed = execFileSync('tar', ['-tf', '-'], { input: tar, maxBuffer: 1 << 26 })
        .toString()
        .trim()
        .split('\n');
      const text = readFileSync(join(at, listed.at(-1)!), 'utf8');
      const info = parseBuildInfo(text, ref.name);
      expect(formatBuildInfo(info)).toBe(text);
      const prefix = join(info.root, info.relativePrefix);
      let packed: PackedLayer | undefined;
      const chunks: Buffer[] = [];
      for await (const chunk of packedBytes(
        packPrefix(prefix, info, { from: at + prefix, reuse: true }),
        (done) => (packed = done),
      ))
        chunks.push(chunk);
      expect(packed?.diffId).toBe(digestOf(tar));
      expect(digestOf(Buffer.concat(chunks))).toBe(packed?.descriptor.digest);
      expect(gunzipSync(Buffer.concat(chunks)).equals(tar)).toBe(true);
    }
  });
});

describe('a prefix with', () => {
  const pack = async (make: (root: string) => void) => {
    const root = join(temporaryFolder(), 'pkg');
    mkdirSync(join(root, '.spack'), { recursive: true });
    make(root);
    const info: PackInfo = {
      sbangPath: '/opt/s/bin/sbang',
      root: '/opt/s',
      spackPrefix: '/spack',
      relativePrefix: 'pkg',
      prefixes: new Map([['a'.repeat(32), '/opt/s/pkg']]),
    };
    const entries: string[] = [];
    let text = '';
    for await (const { entry, content } of packPrefix('/opt/s/pkg', info, { from: root })) {
      entries.push(
        `${entry.type} ${entry.mode.toString(8)} ${entry.name}${entry.target ? ` -> ${entry.target}` : ''}`,
      );
      text = '';
      for await (const chunk of content) text += (chunk as Buffer).toString();
    }
    return { entries, info: parseBuildInfo(text, 'pkg') };
  };

  it('files and folders: files first, each sorted by code point, parents on top', async () => {
    const { entries } = await pack((root) => {
      for (const name of ['b', 'a', 'é', 'Z', '\u{1f600}', '\uff5e']) writeFileSync(join(root, name), name);
      mkdirSync(join(root, 'A'));
      writeFileSync(join(root, 'A', 'x'), '');
    });
    expect(entries.map((one) => one.replace(/^\S+ \S+ /, ''))).toEqual([
      'opt',
      'opt/s',
      'opt/s/pkg',
      ...['Z', 'a', 'b', 'é', '\uff5e', '\u{1f600}'].map((name) => `opt/s/pkg/${name}`),
      'opt/s/pkg/.spack',
      'opt/s/pkg/A',
      'opt/s/pkg/A/x',
      'opt/s/pkg/.spack/binary_distribution',
    ]);
  });

  it('hard links: the first in order is the file, the rest point to it', async () => {
    const { entries } = await pack((root) => {
      writeFileSync(join(root, 'two'), 'same');
      chmodSync(join(root, 'two'), 0o700);
      linkSync(join(root, 'two'), join(root, 'one'));
    });
    expect(entries.slice(3, 5)).toEqual([
      'file 755 opt/s/pkg/one',
      'hardlink 755 opt/s/pkg/two -> opt/s/pkg/one',
    ]);
  });

  it.each([
    ['a path in text', 'see /opt/s/pkg/lib\n', true],
    ['a path after a flag', 'cc -L/opt/s/other/lib\n', true],
    ['a path within another path', 'see /usr/opt/s/pkg\n', false],
    ['a path after a word after a slash', 'see /usr-x/opt/s/pkg\n', false],
    ['text too short to tell', '/opt/s', false],
    ['bytes that are no text', '\0\xff /opt/s/pkg', false],
  ])('%s', async (_, content, listed) => {
    const { info } = await pack((root) => writeFileSync(join(root, 'file'), content, 'latin1'));
    expect(info.textFiles).toEqual(listed ? ['file'] : []);
  });

  it('links: absolute ones into the tree are to relocate', async () => {
    const { info, entries } = await pack((root) => {
      symlinkSync('/opt/s/pkg/x', join(root, 'into'));
      symlinkSync('/usr/lib', join(root, 'out'));
      symlinkSync('x', join(root, 'relative'));
    });
    expect(info.links).toEqual(['into']);
    expect(entries[3]).toBe('symlink 755 opt/s/pkg/into -> /opt/s/pkg/x');
  });
});

describe('gzip', () => {
  it('gives the same bytes whatever the chunks, and any reader unpacks them', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ maxLength: 5000 }),
        fc.integer({ min: 1, max: 3000 }),
        async (seed, step) => {
          const content = Buffer.alloc(seed.length * 500, seed.length > 0 ? seed : 0);
          const cut = function* (size: number) {
            for (let at = 0; at < content.length; at += size) yield content.subarray(at, at + size);
          };
          const all = async (source: AsyncIterable<Buffer>) => {
            const chunks: Buffer[] = [];
            for await (const chunk of source) chunks.push(chunk);
            return Buffer.concat(chunks);
          };
          const one = await all(gzip(cut(step * 400), 1));
          const other = await all(gzip(cut(1 << 20), 4));
          expect(one.equals(other)).toBe(true);
          expect(gunzipSync(one).equals(content)).toBe(true);
        },
      ),
      { numRuns: 25 },
    );
  });
});
