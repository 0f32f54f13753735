import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { removeTemporaryFolders, temporaryFolder } from '../testing.js';
import { Relocation } from './relocate.js';
import { relocatedLarge } from './relocate-large.js';

afterEach(removeTemporaryFolders);

const old = `/build/${'padding/'.repeat(8)}tree`;
const relocation = new Relocation([
  [old, '/opt/new'],
  [`${old}/zlib-1.3-abc`, '/elsewhere/zlib'],
]);
const part = 4 * 1024 * 1024;

/** Content of 9 MiB with paths all around the places where it is taken apart, and around the ends of chunks. */
function made(fill: string, path: (index: number) => string): Buffer {
  const content = Buffer.alloc(9 * 1024 * 1024, fill);
  for (let index = 0; index < 40; index++) {
    const bytes = Buffer.from(path(index));
    bytes.copy(content, (1 + (index % 2)) * part - 4000 + index * 199);
  }
  return content;
}

async function* chunks(content: Buffer, size = 70_000): AsyncGenerator<Buffer> {
  for (let at = 0; at < content.length; at += size) yield content.subarray(at, at + size);
}

async function large(content: Buffer, how: Parameters<typeof relocatedLarge>[3]) {
  const temporary = temporaryFolder();
  const {
    size,
    content: parts,
    dispose,
  } = await relocatedLarge(chunks(content), relocation, 'lib/x', how, temporary);
  const bytes: Buffer[] = [];
  for await (const one of parts) bytes.push(Buffer.from(one));
  const all = Buffer.concat(bytes);
  expect(all.length).toBe(size);
  await dispose();
  expect(readdirSync(temporary)).toEqual([]);
  return all;
}

describe('a large file becomes what it would in memory', () => {
  it('text', async () => {
    const content = made('some words of text, and a line\n', (index) =>
      index % 3 === 0 ? `-L${old}/zlib-1.3-abc/lib\n` : `${old}:${old}/a/${'x'.repeat(index)} `,
    );
    const after = await large(content, { kind: 'text', sbangPath: undefined });
    expect(after.equals(relocation.text(content))).toBe(true);
    expect(after.includes(old)).toBe(false);
    expect(after.includes('-L/elsewhere/zlib/lib\n')).toBe(true);
  });

  it('text without any line break', async () => {
    const content = made('word ', () => `${old}/a `);
    const after = await large(content, { kind: 'text', sbangPath: undefined });
    expect(after.equals(relocation.text(content))).toBe(true);
  });

  it('a script whose first line has become too long', async () => {
    const grow = `#!${'/x'.repeat(100)}/python3\n`;
    const content = Buffer.concat([Buffer.from(grow), made('line\n', () => `${old}/a\n`)]);
    const after = await large(content, { kind: 'text', sbangPath: '/s/sbang' });
    expect(after.subarray(0, 300).toString()).toMatch(/^#!\/bin\/sh \/s\/sbang\n#!\/x/);
  });

  it('strings in a binary', async () => {
    const content = made('\x01\0', (index) => `\0${old}${index % 2 ? '/share/data' : ''}\0next`);
    const after = await large(content, { kind: 'binary' });
    expect(after.equals(relocation.binary(content, 'lib/x'))).toBe(true);
    expect(after.includes(old)).toBe(false);
  });

  it('strings in a binary, wherever it is taken apart', () => {
    const two = new Relocation([
      ['/build/padded/tree', '/opt/new'],
      ['/build/padded/tree/zlib', '/opt/zl'],
    ]);
    const paths = [
      'tree',
      'tree/a',
      'tree/share',
      'tree/share/much/longer/data',
      'tree/zlib',
      'tree/zlib/lib',
    ];
    const content = Buffer.from(paths.map((path) => `x\0/build/padded/${path}\0next\0`).join(''));
    const whole = two.binary(content, 'lib/x');
    for (let cut = 0; cut <= content.length; cut++) {
      const first = Buffer.from(content.subarray(0, cut));
      const done = two.strings(first, 'lib/x', false);
      const rest = Buffer.concat([first.subarray(done), content.subarray(cut)]);
      two.strings(rest, 'lib/x', true);
      const parts = Buffer.concat([first.subarray(0, done), rest]);
      expect([cut, parts.toString('latin1')]).toEqual([cut, whole.toString('latin1')]);
    }
  });

  it.skipIf(!existsSync('/usr/bin/gcc'))(
    'an ELF file with its search path (needs gcc: apt-get install gcc)',
    async () => {
      const folder = temporaryFolder();
      writeFileSync(
        join(folder, 'main.c'),
        `char big[9 << 20] = {1};\nconst char *at = "${old}/share";\nint main() { return big[5]; }`,
      );
      const args = ['-o', join(folder, 'main'), join(folder, 'main.c')];
      execFileSync('gcc', [...args, `-Wl,-rpath,${old}/zlib-1.3-abc/lib:${old}/lib`]);
      const content = readFileSync(join(folder, 'main'));
      const after = await large(content, { kind: 'binary' });
      expect(after.equals(relocation.binary(content, 'lib/x'))).toBe(true);
      expect(after.includes('\0/elsewhere/zlib/lib:/opt/new/lib\0')).toBe(true);
    },
  );
});

it('what cannot be done is an error before any byte, and leaves no file behind', async () => {
  const temporary = temporaryFolder();
  const content = made('\0', () => `\0${old}/share\0`);
  const growing = new Relocation([[old, `${old}/longer`]]);
  await expect(
    relocatedLarge(chunks(content), growing, 'lib/x', { kind: 'binary' }, temporary),
  ).rejects.toMatchObject({ code: 'relocation', message: expect.stringContaining('lib/x') });
  expect(readdirSync(temporary)).toEqual([]);
});
