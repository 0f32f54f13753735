import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { ImageLayout, mediaTypes, readImage } from '@stackwright/oci';
import { pack } from 'tar-stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type AssembleOptions,
  assembleImage,
  FileTree,
  missingParts,
  missingPartsOf,
  type PackageBlob,
  refuseIncomplete,
  Staging,
  writeLayout,
} from '../src/index.js';
import { filesOfLayer } from '../src/layer-files.js';
import { MadeTree } from './made.js';
import { hostBase } from './quickstart.js';

const work = mkdtempSync(join(tmpdir(), 'complete-'));
afterAll(() => rmSync(work, { recursive: true, force: true }));
const tree = new MadeTree(work);
let staging: Staging;
let packages: Record<'dynamic' | 'scripts' | 'lost', PackageBlob>;

beforeAll(async () => {
  staging = await Staging.open(join(work, 'staging'));
  const interpreter = `${tree.prefix('dynamic')}/bin/true`;
  const [dynamic, scripts, lost] = (await tree.push([
    { name: 'dynamic', files: { 'bin/true': { program: readFileSync('/bin/true') } } },
    {
      name: 'scripts',
      needs: ['dynamic'],
      files: {
        'bin/plain': { program: '#!/bin/sh\n' },
        'bin/long': { program: `#!/bin/sh ${tree.sbang}\n#!${interpreter}\n` },
        'bin/env': { program: '#!/usr/bin/env true\n' },
      },
    },
    {
      name: 'lost',
      needs: ['dynamic'],
      files: {
        'bin/python': { program: '#!/usr/bin/env python9\n' },
        'libexec/away': { program: `#!${tree.prefix('dynamic')}/bin/false\n` },
      },
    },
  ])) as [PackageBlob, PackageBlob, PackageBlob];
  packages = { dynamic, scripts, lost };
});

/** What is missing in an image, before it is written and after. */
async function missing(options: Pick<AssembleOptions, 'packages' | 'base' | 'settings' | 'installRoot'>) {
  const image = await assembleImage({ ...options, staging });
  const before = await missingParts(image, { staging });
  const folder = mkdtempSync(join(work, 'layout-'));
  await writeLayout(image, folder, 'latest');
  const layout = await ImageLayout.open(folder);
  const after = await missingPartsOf(await readImage(layout, 'latest'), layout, { staging });
  return { image, before, after };
}

const parts = (found: readonly { kind: string; name: string; file?: string }[]) =>
  found.map(({ kind, name, file }) => `${kind} ${name} of ${file?.split('/').slice(-2).join('/')}`).sort();

describe('the programs of an image', () => {
  it('lack loader and C library on scratch, and file and package are named', async () => {
    const { before, after } = await missing({ packages: [packages.dynamic] });
    expect(parts(before)).toEqual([
      expect.stringMatching(/^interpreter \/lib.*ld.* of bin\/true$/),
      'library libc.so.6 of bin/true',
    ]);
    expect(parts(after)).toEqual(parts(before));
    expect(() => refuseIncomplete(before)).toThrow(/dynamic@1\/.*\/bin\/true needs the library libc\.so\.6/);
    refuseIncomplete([]);
  });

  it.each([undefined, '/opt/moved'])('have all on a base with a C library, below %s', async (installRoot) => {
    const base = await hostBase(join(work, 'base'), { more: ['/usr/bin/env'] });
    const settings = { command: ['plain'] };
    const own = [packages.dynamic, packages.scripts];
    const { before, after } = await missing({ packages: own, base, settings, installRoot });
    expect(before).toEqual([]);
    expect(after).toEqual([]);
  });

  it('lack interpreters of scripts that are in no package, no base and not on the search path', async () => {
    const base = await hostBase(join(work, 'base'), { more: ['/usr/bin/env'] });
    const { before, after } = await missing({ packages: [packages.dynamic, packages.lost], base });
    const expected = [
      'script interpreter /usr/bin/env python9 of bin/python',
      `script interpreter ${tree.prefix('dynamic')}/bin/false of libexec/away`,
    ];
    expect(parts(before)).toEqual(expected.sort());
    expect(parts(after)).toEqual(parts(before));
  });

  it('include the command', async () => {
    const base = await hostBase(join(work, 'base'));
    for (const command of ['nothing', '/bin/nothing', 'bin/nothing']) {
      const { before, after } = await missing({
        packages: [packages.dynamic],
        base,
        settings: { command: [command] },
      });
      expect(before).toEqual([{ package: 'image', kind: 'command', name: command }]);
      expect(after).toEqual(before);
    }
    for (const command of ['true', 'sh', '/bin/sh'])
      expect(
        (await missing({ packages: [packages.dynamic], base, settings: { command: [command] } })).before,
      ).toEqual([]);
  });

  it('may be given what they lack by the host', async () => {
    const { image, before } = await missing({ packages: [packages.dynamic] });
    const hostProvides = before.map(({ name }) => name);
    expect(await missingParts(image, { staging, hostProvides })).toEqual([]);
  });

  it('are checked without a look at a blob where statements tell, and bases are read once', async () => {
    let opened = 0;
    const counted = [packages.dynamic, packages.scripts].map((blob) => ({
      ...blob,
      vouched: true,
      path: undefined,
      open: async (signal?: AbortSignal) => {
        opened += 1;
        return blob.open(signal);
      },
    }));
    const base = await hostBase(join(work, 'base'), { more: ['/usr/bin/env'] });
    // Into this folder they were downloaded before.
    for (const blob of counted) await staging.keep(blob.descriptor, () => blob.open());
    opened = 0;
    const { image } = await missing({ packages: counted, base });
    expect(await missingParts(image, { staging })).toEqual([]);
    expect(opened).toBe(0);
    const never = {
      descriptor: base.image.manifest.layers[0]!,
      open: () => expect.unreachable('read again'),
    };
    expect(Object.keys((await filesOfLayer(never, staging)).files)).toContain('/bin/sh');
  });
});

describe('the files of an image', () => {
  const layer = async (fill: (tar: ReturnType<typeof pack>) => void) => {
    const tar = pack();
    fill(tar);
    tar.finalize();
    const chunks: Buffer[] = [];
    for await (const chunk of tar) chunks.push(chunk as Buffer);
    const layout = await ImageLayout.create(join(work, 'layers'));
    const descriptor = await layout.putBytes(gzipSync(Buffer.concat(chunks)), mediaTypes.layerGzip);
    return filesOfLayer({ descriptor, open: () => layout.blob(descriptor) }, staging);
  };

  it('are those that layers leave of each other, behind links', async () => {
    const below = await layer((tar) => {
      tar.entry({ name: 'bin', type: 'symlink', linkname: 'usr/bin' });
      tar.entry({ name: './usr/bin/sh', mode: 0o755 }, 'x');
      tar.entry({ name: 'usr/bin/gone', mode: 0o755 }, 'x');
      tar.entry({ name: 'usr/lib/x86_64-linux-gnu/libc.so.6' }, 'x');
      tar.entry({ name: 'opt/vendor/lib/libvendor.so.1' }, 'x');
      tar.entry({ name: 'etc/ld.so.conf.d/vendor.conf' }, '# vendor\n/opt/vendor/lib\n');
      tar.entry({ name: 'srv/old/file' }, 'x');
      tar.entry({ name: 'loop', type: 'symlink', linkname: 'loop' });
      tar.entry({ name: 'dev/null', type: 'character-device' });
    });
    const above = await layer((tar) => {
      tar.entry({ name: 'usr/bin/.wh.gone' }, '');
      tar.entry({ name: 'srv/old/.wh..wh..opq' }, '');
      tar.entry({ name: 'srv/old/new' }, 'x');
      tar.entry({ name: 'bin/', type: 'directory' });
      tar.entry({ name: 'usr/bin/up', type: 'symlink', linkname: '../bin/../../bin/sh' });
    });
    const files = new FileTree([below, above]);
    const paths = [
      '/bin/sh',
      '/usr/bin/gone',
      '/srv/old/file',
      '/srv/old/new',
      '/bin/up',
      '/loop',
      '/bin',
      '/bin/sh/x',
    ];
    expect(paths.filter((path) => files.isFile(path))).toEqual(['/bin/sh', '/srv/old/new', '/bin/up']);
    const libraries = ['libc.so.6', 'libvendor.so.1', 'libnone.so.1'];
    expect(libraries.filter((name) => files.hasLibrary(name))).toEqual(['libc.so.6', 'libvendor.so.1']);
  });

  it('are refused where a layer is no tar', async () => {
    const layout = await ImageLayout.create(join(work, 'layers'));
    for (const bytes of [Buffer.alloc(2000, 'no tar'), Buffer.from('no gzip')]) {
      const descriptor = await layout.putBytes(
        bytes.length > 1000 ? gzipSync(bytes) : bytes,
        mediaTypes.layerGzip,
      );
      const read = filesOfLayer({ descriptor, open: () => layout.blob(descriptor) }, staging);
      await expect(read).rejects.toMatchObject({
        code: 'base',
        message: expect.stringContaining(descriptor.digest),
      });
    }
  });
});
