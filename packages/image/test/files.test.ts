import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ImageFile, ImageUser } from '@stackwright/spack-env';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { assembleImage, type PackageBlob, Staging, writeLayout } from '../src/index.js';
import { MadeTree } from './made.js';
import { has, hostBase, runImage } from './quickstart.js';

const work = mkdtempSync(join(tmpdir(), 'files-'));
afterAll(() => rmSync(work, { recursive: true, force: true }));
const folder = join(work, 'stack');
let packages: PackageBlob[];
let staging: Staging;

beforeAll(async () => {
  mkdirSync(join(folder, 'etc/deep'), { recursive: true });
  writeFileSync(join(folder, 'etc/a.yaml'), 'a\n');
  writeFileSync(join(folder, 'etc/deep/run.sh'), '#!/bin/sh\necho run\n');
  chmodSync(join(folder, 'etc/deep/run.sh'), 0o755);
  writeFileSync(join(work, 'secret'), 'secret');
  symlinkSync('../secret', join(folder, 'link'));
  staging = await Staging.open(join(work, 'staging'));
  packages = await new MadeTree(work).push([{ name: 'one', files: { note: 'x' } }]);
});

const assemble = async (files: readonly ImageFile[], users: readonly ImageUser[] = []) =>
  assembleImage({
    packages,
    base: await hostBase(join(work, 'base'), { more: ['/bin/ls', '/bin/cat', '/usr/bin/id'] }),
    settings: { user: users[0]?.name },
    own: { files, users, folder },
    staging,
  });

describe("an image's own files", () => {
  it('are the same bytes each time, in one layer', async () => {
    const files = [{ path: '/etc/spack', source: 'etc' }];
    const first = await assemble(files);
    const second = await assemble(files);
    expect(first.manifest.descriptor).toEqual(second.manifest.descriptor);
    expect(first.layers).toHaveLength(3);
    expect((await assemble([])).layers).toHaveLength(2);
  });

  it.skipIf(!has('runc', 'umoci'))(
    'have their modes and owners, and users their homes (skipped without runc and umoci: apt-get install runc umoci)',
    async () => {
      const image = await assemble(
        [
          { path: '/etc/spack', source: 'etc' },
          { path: '/home/spack/note', content: 'hello\n', mode: '0600', owner: 'spack' },
        ],
        [{ name: 'spack', uid: 1234 }],
      );
      await writeLayout(image, join(work, 'layout'), 'latest');
      const said = runImage(join(work, 'layout'), 'latest', [
        'sh',
        '-c',
        '/etc/spack/deep/run.sh; cat /etc/spack/a.yaml /home/spack/note; id -u; ls -ln /home/spack; ls -ldn /home/spack /etc/spack; cat /etc/passwd',
      ]);
      expect(said).toMatch(/^run\na\nhello\n1234\n/);
      expect(said).toMatch(/-rw-------\s+1 1234 1234 .* note/);
      expect(said).toMatch(/drwxr-xr-x\s+\d+\s+1234\s+1234 .* \/home\/spack/);
      expect(said).toMatch(/drwxr-xr-x\s+\d+\s+0\s+0 .* \/etc\/spack/);
      expect(said).toMatch(/^spack:x:1234:1234::\/home\/spack:\/bin\/sh$/m);
    },
  );

  it.each<[string, ImageFile, RegExp]>([
    ['a relative path', { path: 'etc/x', content: '' }, /no absolute path/],
    ['a path that leads elsewhere', { path: '/etc/../x', content: '' }, /no absolute path/],
    ['neither source nor content', { path: '/x' }, /either a source or a content/],
    ['a source that is not there', { path: '/x', source: 'nowhere' }, /is not there/],
    ['a source outside of the stack', { path: '/x', source: '../secret' }, /outside of the stack/],
    ['a link that leads outside', { path: '/x', source: 'link' }, /outside of the stack/],
    ['a mode that is none', { path: '/x', content: '', mode: '9' }, /no mode/],
    ['setuid', { path: '/x', content: '', mode: '4755' }, /no mode/],
    ['an unknown owner', { path: '/x', content: '', owner: 'nobody' }, /no user of the stack/],
  ])('are refused with %s', async (_, file, message) => {
    await expect(assemble([file])).rejects.toMatchObject({
      code: 'own-files',
      message: expect.stringMatching(message),
    });
  });

  it('are refused with a user of a bad name or number', async () => {
    await expect(assemble([], [{ name: 'a:b' }])).rejects.toThrow(/no name for a user/);
    await expect(assemble([], [{ name: 'a', uid: 1e6 }])).rejects.toThrow(/cannot have the number/);
  });
});
