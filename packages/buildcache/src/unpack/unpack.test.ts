import { Readable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readLayerFacts, tarEntries } from '../index.js';
import { tarEnd, tarHeader, tarPadding } from '../pack/tar.js';

const file = (name: string, content = 'content') => {
  const bytes = Buffer.from(content);
  return [
    tarHeader({ name, type: 'file', mode: 0o644, size: bytes.length }),
    bytes,
    tarPadding(bytes.length),
  ];
};
const folder = (name: string) => tarHeader({ name, type: 'folder', mode: 0o755, size: 0 });

/** A header with other bytes at some place, and the checksum that makes it valid. */
function changed(header: Buffer, at: number, bytes: Buffer | string): Buffer {
  const copy = Buffer.from(header);
  Buffer.from(bytes as string).copy(copy, at);
  copy.write('        ', 148, 'latin1');
  const sum = copy.reduce((all, byte) => all + byte, 0);
  copy.write(`${sum.toString(8).padStart(6, '0')}\0`, 148, 'latin1');
  return copy;
}

async function read(...parts: readonly Buffer[]): Promise<string[]> {
  const names: string[] = [];
  const tarball = Readable.from([gzipSync(Buffer.concat(parts))]);
  for await (const { entry, content } of tarEntries(tarball, { what: 'hello@2.0' })) {
    for await (const _ of content);
    names.push(entry.name);
  }
  return names;
}

const [header, ...content] = file('opt/file') as [Buffer, Buffer, Buffer];
const [link, pax] = [
  tarHeader({ name: 'opt/link', type: 'symlink', mode: 0o755, size: 0, target: 'file' }),
  // The first of its blocks is the header of its pax record.
  tarHeader({ name: `opt/${'long'.repeat(50)}`, type: 'file', mode: 0o644, size: 0 }),
];

describe('a tarball with a malformed header is refused, and does not hang: ', () => {
  it.each<[string, Buffer]>([
    ['a size that starts with 0xC4', changed(header, 124, Buffer.from([0xc4]))],
    ['a negative size', changed(header, 124, Buffer.alloc(12, 0xff))],
    ['a size that is no number', changed(header, 124, 'hello       ')],
    ['a size beyond all files', changed(header, 124, Buffer.from([0x80, ...Array(11).fill(0xff)]))],
    ['a size that is more than there is', changed(header, 124, '77777777777')],
    ['a link with content', changed(link, 124, '00000000007')],
    ['a folder with content', changed(folder('opt'), 124, '00000000007')],
    ['a pax record whose size starts with 0xC4', changed(pax.subarray(0, 512), 124, Buffer.from([0xc4]))],
    ['a pax record of many megabytes', changed(pax.subarray(0, 512), 124, '00777777777')],
    [
      'a wrong checksum',
      Buffer.concat([header.subarray(0, 148), Buffer.from('0000001\0'), header.subarray(156)]),
    ],
    ['another format', changed(header, 257, 'nostar')],
    ['half a header', header.subarray(0, 300)],
  ])('%s', async (_, bad) => {
    const rest = bad.length < 512 ? [] : [...content, ...file('opt/other'), tarEnd(2048)];
    await expect(read(folder('a'), bad, ...rest)).rejects.toMatchObject({
      name: 'BuildcacheError',
      code: expect.stringMatching(/^tar/),
      message: expect.stringContaining('hello@2.0'),
    });
  });

  it('whatever bytes a header has', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(header, link, pax.subarray(0, 512), folder('opt')),
        fc.nat(500),
        fc.uint8Array({ minLength: 1, maxLength: 12 }),
        async (good, at, bytes) => {
          await read(
            changed(good, at, Buffer.from(bytes)),
            ...content,
            ...file('opt/other'),
            tarEnd(2048),
          ).catch((error: Error) => expect(error.name).toBe('BuildcacheError'));
        },
      ),
      { numRuns: 400 },
    );
  });
});

describe('a tarball that would do harm as a layer is refused: ', () => {
  const prefix = 'opt/made/hello-2.0';
  const facts = (...parts: readonly Buffer[]) => {
    const tar = Buffer.concat([
      ...['opt', 'opt/made', prefix].map(folder),
      ...parts,
      folder(`${prefix}/.spack`),
      ...file(`${prefix}/.spack/binary_distribution`, '{}'),
      tarEnd(0),
    ]);
    return readLayerFacts(Readable.from([gzipSync(tar)]), 'hello@2.0');
  };
  const [own, ...rest] = file(`${prefix}/bin`) as [Buffer, Buffer, Buffer];
  const xattr = '40 SCHILY.xattr.security.capability=aaaa\n';

  it('(one that does none is not)', async () => {
    expect(await facts(own, ...rest)).toMatchObject({ prefix: `/${prefix}` });
  });
  it.each<[string, string, Buffer[]]>([
    ['a setuid program', 'tar-type', [changed(own, 100, '0004755'), ...rest]],
    ['a setgid program', 'tar-type', [changed(own, 100, '0002755'), ...rest]],
    ["a user's file", 'tar-type', [changed(own, 108, '0001750'), ...rest]],
    ['a whiteout', 'tar-path', file(`${prefix}/.wh.bin`)],
    ['a whiteout of the base', 'tar-path', file('usr/.wh.bin')],
    ['a file of the base', 'tar-path', file('etc/passwd')],
    ['a file beside its prefix', 'tar-path', file('opt/made/other')],
    ['a folder beside its prefix', 'tar-path', [folder('opt/made/hello-2.0-other')]],
    [
      'a capability',
      'tar-type',
      [
        changed(changed(own, 156, 'x'), 124, xattr.length.toString(8).padStart(11, '0')),
        Buffer.from(xattr),
        tarPadding(xattr.length),
        own,
        ...rest,
      ],
    ],
  ])('%s', async (_, code, parts) => {
    await expect(facts(...parts)).rejects.toMatchObject({ name: 'BuildcacheError', code });
  });
});
