import { execFileSync } from 'node:child_process';
import { closeSync, openSync, readSync, statSync } from 'node:fs';
import { expect, it } from 'vitest';
import { ElfScan } from './elf-scan.js';

/** A file in chunks that share one buffer, as a packer gives them. */
function* chunksOf(path: string, size: number): Generator<Buffer> {
  const shared = Buffer.alloc(size);
  const file = openSync(path, 'r');
  try {
    for (let count = readSync(file, shared); count > 0; count = readSync(file, shared))
      yield shared.subarray(0, count);
  } finally {
    closeSync(file);
  }
}

/** What a scan finds when a file passes by in chunks of this size. */
async function scanned(path: string, size: number, name = 'opt/it') {
  const scan = new ElfScan();
  const entry = { name, type: 'file', mode: 0o755, size: statSync(path).size } as const;
  for await (const _ of scan.watch({ entry, content: chunksOf(path, size) }));
  return scan.result();
}

it.each([
  ['a program that is larger than what is kept of it', process.execPath, 1 << 20],
  ['a small program in one piece', '/bin/sh', 1 << 24],
  ['a small program in pieces', '/bin/sh', 4096],
])('finds the libraries of %s', async (_, path, size) => {
  const said = execFileSync('readelf', ['-dlW', path], { encoding: 'utf8' });
  expect(await scanned(path, size)).toEqual({
    interpreters: [/program interpreter: (\S+)\]/.exec(said)?.[1]],
    needed: [...said.matchAll(/\(NEEDED\).*\[(.+)\]/g)].map(([, name]) => name).sort(),
    provided: [],
  });
});

it('takes nothing from what is no ELF file, or lies in .spack', async () => {
  const none = { interpreters: [], needed: [], provided: [] };
  expect(await scanned('/etc/passwd', 4096)).toEqual(none);
  expect(await scanned('/bin/sh', 4096, 'opt/it/.spack/archived')).toEqual(none);
});
