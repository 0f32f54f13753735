import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  createReadStream,
  existsSync,
  lstatSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import type { Digest } from '@stackwright/oci';
import fc from 'fast-check';
import { pack } from 'tar-stream';
import { afterEach, describe, expect, it } from 'vitest';
import {
  extractEntries,
  type NewPlaces,
  openV3Mirror,
  type PackedLayer,
  packedBytes,
  Relocation,
  readBuildInfo,
  relocatedEntries,
  tarEntries,
  v3,
  withSbang,
} from '../index.js';
import { golden, quickstartMirror, removeTemporaryFolders, temporaryFolder } from '../testing.js';
import { elfPaths } from './elf.js';

afterEach(removeTemporaryFolders);

const old = `/build/${'padding/'.repeat(8)}tree`;
const moved = new Relocation([
  [old, '/opt/new'],
  [`${old}/zlib-1.3-abc`, '/elsewhere/zlib'],
]);

describe('text', () => {
  it.each([
    ['a path', `dir=${old}/bin\n`, 'dir=/opt/new/bin\n'],
    ['the longest prefix', `${old}/zlib-1.3-abc/lib`, '/elsewhere/zlib/lib'],
    ['after a flag', `-L${old}/lib -I${old}/include`, '-L/opt/new/lib -I/opt/new/include'],
    ['in a list', `${old}/a:${old}/b`, '/opt/new/a:/opt/new/b'],
    ['not within another path', `/x${old}/a`, `/x${old}/a`],
    ['none', 'nothing here', 'nothing here'],
  ])('%s', (_, before, after) => {
    expect(moved.text(Buffer.from(before)).toString()).toBe(after);
  });

  it('never changes what holds no old prefix', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        const content = Buffer.from(bytes);
        expect(moved.text(content).equals(content)).toBe(true);
        expect(moved.binary(content, 'x').equals(content)).toBe(true);
      }),
    );
  });

  it('a first line that grew too long goes through sbang', () => {
    const line = `#!/${'x'.repeat(140)}/python3\nprint()\n`;
    expect(withSbang(Buffer.from(line), '/s/sbang').toString()).toBe(`#!/bin/sh /s/sbang\n${line}`);
    const lua = `#!/${'x'.repeat(140)}/lua\nprint()\n`;
    expect(withSbang(Buffer.from(lua), '/s/sbang').toString()).toMatch(/^#!\/bin\/sh \/s\/sbang\n--!\/x/);
    expect(withSbang(Buffer.from('#!/bin/sh\n'), '/s/sbang').toString()).toBe('#!/bin/sh\n');
  });
});

describe('strings in a binary', () => {
  const strings = (relocation: Relocation, text: string) =>
    relocation.binary(Buffer.from(text, 'latin1'), 'lib/x.so').toString('latin1');

  it('keep their length and their tail: slashes fill up in front', () => {
    const before = `\0${old}/share/data\0next`;
    const after = strings(moved, before);
    expect(after).toHaveLength(before.length);
    expect(after).toBe(`\0${'/'.repeat(old.length - '/opt/new'.length)}/opt/new/share/data\0next`);
  });

  it('that end at the prefix shrink, the last bytes stay as they were', () => {
    const before = `\0${old}\0next`;
    const after = strings(moved, before);
    expect(after).toHaveLength(before.length);
    expect(after.startsWith('\0/opt/new\0')).toBe(true);
    expect(after.slice(-12)).toBe(before.slice(-12));
  });

  it('cannot grow: the error names the file', () => {
    const longer = new Relocation([['/short', '/a/much/longer/prefix']]);
    expect(() => strings(longer, 'x /short/lib\0')).toThrowError(
      expect.objectContaining({
        message: expect.stringMatching(/lib\/x\.so: \/a\/much\/longer\/prefix is longer/),
        hint: expect.stringContaining('padded'),
      }),
    );
  });

  it('cannot lose bytes that others may share', () => {
    const one = new Relocation([['/old/abc', '/new/de']]);
    expect(() => strings(one, '\0/old/abc\0')).toThrow(/cannot become/);
  });

  it('have the length they had, whatever stands around them', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.constant(old), fc.constant('\0'), fc.string()), { maxLength: 12 }),
        (parts) => {
          const content = Buffer.from(parts.join(''));
          const after = moved.binary(content, 'x');
          expect(after).toHaveLength(content.length);
          expect(after.includes(old)).toBe(false);
        },
      ),
    );
  });
});

const hasGcc = existsSync('/usr/bin/gcc') || existsSync('/usr/local/bin/gcc');
describe.skipIf(!hasGcc)('an ELF file (needs gcc: apt-get install gcc)', () => {
  it.each(['--disable-new-dtags', '--enable-new-dtags'])(
    'runs with its library at the new place (%s)',
    (tags) => {
      const folder = temporaryFolder();
      const from = `${folder}/${'placeholder/'.repeat(4)}a`;
      const to = `${folder}/b`;
      execFileSync('mkdir', ['-p', from, to]);
      writeFileSync(`${folder}/lib.c`, 'const char *where(void) { return "here"; }');
      writeFileSync(
        `${folder}/main.c`,
        '#include <stdio.h>\nconst char *where(void);\nint main() { puts(where()); return 0; }',
      );
      execFileSync('gcc', ['-shared', '-o', `${from}/libw.so`, `${folder}/lib.c`]);
      execFileSync('gcc', [
        '-o',
        `${folder}/main`,
        `${folder}/main.c`,
        `-L${from}`,
        '-lw',
        `-Wl,-rpath,${from}`,
        `-Wl,${tags}`,
      ]);
      execFileSync('mv', [`${from}/libw.so`, `${to}/libw.so`]);
      expect(() => execFileSync(`${folder}/main`, { stdio: 'pipe' })).toThrow();
      const content = new Relocation([[from, to]]).binary(readFileSync(`${folder}/main`), 'main');
      writeFileSync(`${folder}/main`, content);
      expect(execFileSync(`${folder}/main`).toString()).toBe('here\n');
      expect(elfPaths(content)?.searchPaths.map((one) => one.value.toString())).toEqual([to]);
    },
  );

  it('whose search path would grow is refused by name', () => {
    const folder = temporaryFolder();
    writeFileSync(`${folder}/main.c`, 'int main() { return 0; }');
    execFileSync('gcc', ['-o', `${folder}/main`, `${folder}/main.c`, '-Wl,-rpath,/old/lib']);
    expect(() =>
      new Relocation([['/old', '/something/longer']]).binary(readFileSync(`${folder}/main`), 'bin/main'),
    ).toThrow(/bin\/main: its search path \(RPATH\) grows/);
  });
});

const tarball = (folder: string, digest: Digest) => createReadStream(join(folder, v3.blob(digest)));

describe('a package of Spack', () => {
  const cases = [
    ['quickstart', quickstartMirror],
    ...(golden ? [['golden', `${golden}/mirror-v3-signed`] as const] : []),
  ] as const;

  it.each(cases)(
    'keeps no old path in what is relocated, at a new root, and packs the same twice (%s)',
    async (_, folder) => {
      const mirror = await openV3Mirror(folder);
      for await (const ref of mirror.packages()) {
        const { tarball: record } = (await mirror.package(ref)).manifest;
        const open = () => tarball(folder, record.digest);
        const { info, prefix } = await readBuildInfo(open(), { what: ref.name });
        const places: NewPlaces = { root: '/opt/sw' };
        const entries = () =>
          relocatedEntries(tarEntries(open(), { what: ref.name }), info, prefix, {
            ...places,
            what: ref.name,
          });
        for await (const { entry, content } of entries()) {
          expect(entry.name).toMatch(/^opt(\/sw(\/|$)|$)/);
          let text = '';
          for await (const chunk of content) text += (chunk as Buffer).toString('latin1');
          if (!entry.name.includes('/.spack/') && entry.type === 'file')
            expect(text).not.toContain(info.root);
          if (entry.type === 'symlink') expect(entry.target).not.toContain(info.root);
        }
        const digest = async () => {
          let packed: PackedLayer | undefined;
          for await (const _chunk of packedBytes(entries(), (done) => (packed = done)));
          return packed?.descriptor.digest;
        };
        expect(await digest()).toBe(await digest());
      }
    },
  );

  it('unpacked where it was built is as it was, byte by byte', async () => {
    const mirror = await openV3Mirror(quickstartMirror);
    for await (const ref of mirror.packages()) {
      const { tarball: record } = (await mirror.package(ref)).manifest;
      const { prefix } = await readBuildInfo(tarball(quickstartMirror, record.digest), { what: ref.name });
      const to = join(temporaryFolder(), 'pkg');
      await extractEntries(
        tarEntries(tarball(quickstartMirror, record.digest), { what: ref.name }),
        prefix,
        to,
      );
      const other = temporaryFolder();
      execFileSync('tar', ['-xzf', join(quickstartMirror, v3.blob(record.digest)), '-C', other]);
      expect(listing(to)).toEqual(listing(other + prefix));
    }
  });

  it('has its static archive relocated, which Spack leaves as it was', async () => {
    const content = Buffer.from(`!<arch>\n${'x'.repeat(60)}\0${old}/share/data\0tail`);
    const info = {
      sbangPath: `${old}/bin/sbang`,
      root: old,
      spackPrefix: '',
      relativePrefix: 'p',
      prefixes: new Map([['a'.repeat(32), `${old}/p`]]),
      binaries: [],
      links: [],
      textFiles: [],
    };
    const items = (async function* () {
      yield {
        entry: {
          name: `${old.slice(1)}/p/lib/libx.a`,
          type: 'file' as const,
          mode: 0o644,
          size: content.length,
        },
        content: [content],
      };
    })();
    const found: string[] = [];
    for await (const item of relocatedEntries(items, info, `${old}/p`, { root: '/opt/new', what: 'x' })) {
      for await (const chunk of item.content) found.push((chunk as Buffer).toString('latin1'));
    }
    expect(found.join('')).toMatch(/^!<arch>\nx+\0\/+opt\/new\/share\/data\0tail$/);
  });
});

describe('a tarball that is refused', () => {
  type Entry = Parameters<ReturnType<typeof pack>['entry']>[0];
  const make = async (entries: readonly [Entry, string?][], cut?: number) => {
    const archive = pack();
    for (const [header, content] of entries) archive.entry(header, content ?? '');
    archive.finalize();
    const bytes = gzipSync(Buffer.concat(await Readable.from(archive).toArray()));
    return Readable.from([cut ? bytes.subarray(0, cut) : bytes]);
  };
  const read = async (stream: Readable, limit?: number) => {
    for await (const { content } of tarEntries(stream, { what: 'evil', limit }))
      for await (const _ of content);
  };
  const file = (name: string): [Entry, string] => [{ name }, 'x'];

  it.each<[string, string, [Entry, string?][]]>([
    ['an absolute path', 'tar-path', [file('/etc/passwd')]],
    ['a path with ..', 'tar-path', [file('a/../../b')]],
    ['only ..', 'tar-path', [file('..')]],
    [
      'a path through a link',
      'tar-path',
      [[{ name: 'a', type: 'symlink', linkname: '/etc' }], file('a/passwd')],
    ],
    ['a path through a file', 'tar-path', [file('a'), file('a/b')]],
    [
      'a path deep below a link',
      'tar-path',
      [[{ name: 'a', type: 'symlink', linkname: '/etc' }], file('a/b/c/d')],
    ],
    [
      'a link instead of a folder',
      'tar-path',
      [[{ name: 'a', type: 'directory' }], [{ name: 'a', type: 'symlink', linkname: '/' }]],
    ],
    ['a file twice', 'tar-path', [file('a'), file('a')]],
    ['a hard link out', 'tar-path', [[{ name: 'a', type: 'link', linkname: '../../etc/passwd' }]]],
    ['a hard link to nothing', 'tar-path', [[{ name: 'a', type: 'link', linkname: 'b' }]]],
    [
      'a hard link to a link',
      'tar-path',
      [[{ name: 'b', type: 'symlink', linkname: '/etc' }], [{ name: 'a', type: 'link', linkname: 'b' }]],
    ],
    ['a device', 'tar-type', [[{ name: 'a', type: 'character-device' }]]],
    ['a block device', 'tar-type', [[{ name: 'a', type: 'block-device' }]]],
    ['a pipe', 'tar-type', [[{ name: 'a', type: 'fifo' }]]],
  ])('%s', async (_, code, entries) => {
    await expect(read(await make(entries))).rejects.toMatchObject({
      code,
      message: expect.stringContaining('evil'),
    });
  });

  it('a gzip bomb ends at the limit', async () => {
    const bomb = await make([[{ name: 'a' }, 'x'.repeat(3_000_000)]]);
    await expect(read(bomb, 1_000_000)).rejects.toMatchObject({ code: 'tar-size' });
  });

  it('one that is cut off', async () => {
    await expect(read(await make([[{ name: 'a' }, 'x'.repeat(30_000)]], 60))).rejects.toMatchObject({
      code: expect.stringMatching(/compression|tarball/),
    });
  });

  it('one that is no gzip', async () => {
    await expect(read(Readable.from([Buffer.from('hello, this is no gzip')]))).rejects.toMatchObject({
      code: 'compression',
    });
  });

  it('one without binary_distribution', async () => {
    await expect(readBuildInfo(await make([file('a/b')]), { what: 'evil' })).rejects.toMatchObject({
      code: 'tarball',
    });
  });

  it('writes nothing outside of its folder and leaves nothing behind', async () => {
    const folder = temporaryFolder();
    const stream = await make([[{ name: 'p', type: 'directory' }], file('p/ok'), file('q/outside')]);
    await expect(
      extractEntries(tarEntries(stream, { what: 'evil' }), '/p', join(folder, 'x')),
    ).rejects.toMatchObject({ code: 'tar-path' });
    expect(readdirSync(folder)).toEqual([]);
  });

  it('any bytes at all: an error of ours or an archive, never a crash', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 2000 }), fc.boolean(), async (bytes, packed) => {
        const content = packed ? gzipSync(bytes) : Buffer.from(bytes);
        await read(Readable.from([content])).catch((error: unknown) => {
          expect((error as Error).name).toBe('BuildcacheError');
        });
      }),
      { numRuns: 150 },
    );
  });
});

function listing(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .map((entry) => {
      const path = join(entry.parentPath, entry.name);
      const { mode } = lstatSync(path);
      const content = entry.isSymbolicLink()
        ? readlinkSync(path)
        : entry.isFile()
          ? createHash('sha256').update(readFileSync(path)).digest('hex')
          : '';
      return `${path.slice(folder.length)} ${mode.toString(8)} ${content}`;
    })
    .sort();
}
