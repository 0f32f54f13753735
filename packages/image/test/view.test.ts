import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ImageLayout, readImage } from '@stackwright/oci';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type AssembleOptions,
  assembleImage,
  missingParts,
  type PackageBlob,
  Staging,
  writeLayout,
} from '../src/index.js';
import { filesOfLayer } from '../src/layer-files.js';
import { profileOf } from '../src/view.js';
import { MadeTree } from './made.js';
import { has, hostBase, runImage } from './quickstart.js';

const work = mkdtempSync(join(tmpdir(), 'view-'));
afterAll(() => rmSync(work, { recursive: true, force: true }));
const tree = new MadeTree(work);
let staging: Staging;
let packages: PackageBlob[];

beforeAll(async () => {
  staging = await Staging.open(join(work, 'staging'));
  packages = await tree.push([
    {
      name: 'first',
      files: {
        'bin/say': { program: '#!/bin/sh\necho "first says $1"\n' },
        'bin/alias': { link: 'say' },
        'share/man/man1/say.1': 'page',
        'share/first/data': 'data',
        'lib/pkgconfig/first.pc': 'pc',
        'include/first/first.h': 'header',
        'etc/first.conf': 'not linked',
      },
    },
    {
      name: 'second',
      files: {
        'bin/say': { program: '#!/bin/sh\necho "second says $1"\n' },
        'bin/other': { program: '#!/bin/sh\nsay "$1"\n' },
        'lib/libsecond.so': 'library',
        'share/man/man1/other.1': 'page',
      },
    },
    { name: 'third', files: { 'bin/third': { program: '#!/bin/sh\n' } } },
  ]);
});

const assemble = (options: Partial<AssembleOptions> = {}) =>
  assembleImage({ packages, searched: hashes('first', 'second'), view: '/opt/view', staging, ...options });
const hashes = (...names: string[]) =>
  packages.filter(({ node }) => names.includes(node.name)).map(({ node }) => node.hash);
const configOf = (image: { config: { bytes: Buffer } }) => JSON.parse(image.config.bytes.toString()).config;

describe('a view in an image', () => {
  it('links what the packages on the search paths have, in a layer of its own', async () => {
    const image = await assemble();
    expect(image.layers).toHaveLength(packages.length + 1);
    const layer = image.layers.at(-1)!;
    const layout = await ImageLayout.create(join(work, 'layout'));
    await writeLayout(image, layout.folder, 'latest');
    const { files } = await filesOfLayer(
      { descriptor: layer.descriptor, open: () => layout.blob(layer.descriptor) },
      staging,
    );
    const links = Object.entries(files).flatMap(([path, kind]) =>
      typeof kind === 'object' ? [[path, kind.link]] : [],
    );
    const first = tree.prefix('first');
    const second = tree.prefix('second');
    expect(Object.fromEntries(links)).toEqual({
      '/opt/view/bin/alias': `${first}/bin/alias`,
      '/opt/view/bin/say': `${first}/bin/say`,
      '/opt/view/bin/other': `${second}/bin/other`,
      '/opt/view/include/first': `${first}/include/first`,
      '/opt/view/lib/libsecond.so': `${second}/lib/libsecond.so`,
      '/opt/view/lib/pkgconfig/first.pc': `${first}/lib/pkgconfig/first.pc`,
      '/opt/view/share/first': `${first}/share/first`,
      '/opt/view/share/man/man1/other.1': `${second}/share/man/man1/other.1`,
      '/opt/view/share/man/man1/say.1': `${first}/share/man/man1/say.1`,
    });
    expect(image.conflicts).toEqual([{ path: 'bin/say', packages: ['first@1', 'second@1'] }]);
  });

  it('is what the search paths lead through', async () => {
    const { Env } = configOf(await assemble());
    expect(Env).toEqual([
      'PATH=/opt/view/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      'MANPATH=/opt/view/share/man:',
      'PKG_CONFIG_PATH=/opt/view/lib/pkgconfig',
      'CMAKE_PREFIX_PATH=/opt/view',
    ]);
    const without = await assemble({ view: undefined });
    expect(configOf(without).Env[0]).toContain(`${tree.prefix('first')}/bin:${tree.prefix('second')}/bin`);
    expect(without.layers).toHaveLength(packages.length);
  });

  it('has the command of the image', async () => {
    const base = await hostBase(join(work, 'base'));
    const image = await assemble({ base, settings: { command: ['other'] } });
    expect(await missingParts(image, { staging })).toEqual([]);
    const third = await assemble({ base, settings: { command: ['third'] } });
    expect(await missingParts(third, { staging })).toEqual([
      { package: 'image', kind: 'command', name: 'third' },
    ]);
  });

  it.each(['view', '/', '/opt/../view', '/opt/a b'])('is refused at %j', async (view) => {
    await expect(assemble({ view })).rejects.toMatchObject({ code: 'name', kind: 'input' });
  });

  it('is refused above and in a package', async () => {
    for (const view of [tree.root, `${tree.prefix('first')}/view`])
      await expect(assemble({ view })).rejects.toThrow(/lie in each other/);
  });

  it.skipIf(!has('runc', 'umoci') || !existsSync('/etc/profile'))(
    'is used in a container, in login shells too (skipped without runc and umoci: apt-get install runc umoci)',
    async () => {
      const base = await hostBase(join(work, 'base-login'), {
        more: ['/usr/bin/id'],
        folders: ['/etc/profile'],
      });
      for (const installRoot of [undefined, '/opt/sw']) {
        const layout = join(work, `run-${installRoot ? 'moved' : 'padded'}`);
        await writeLayout(await assemble({ base, installRoot }), layout, 'latest');
        expect(runImage(layout, 'latest', ['other', 'x'])).toBe('first says x\n');
        expect(runImage(layout, 'latest', ['sh', '-lc', 'other y; command -v other'])).toBe(
          'first says y\n/opt/view/bin/other\n',
        );
      }
    },
    60_000,
  );
});

describe('what login shells read', () => {
  const text = profileOf([{ prefix: '/opt/view', folders: ['bin', 'share/man', '.'] }]);
  const after = (env: Record<string, string>) =>
    execFileSync('/bin/sh', ['-uc', `${text}${text}echo "$PATH $MANPATH $CMAKE_PREFIX_PATH"`], {
      env,
      encoding: 'utf8',
    }).trim();

  it.each([
    [{ PATH: '/bin' }, '/opt/view/bin:/bin /opt/view/share/man: /opt/view'],
    [
      { PATH: '/a:/opt/view/bin', MANPATH: '/m', CMAKE_PREFIX_PATH: '/c' },
      '/a:/opt/view/bin /opt/view/share/man:/m /opt/view:/c',
    ],
  ])('puts the packages in front of %j, once', (env, expected) => expect(after(env)).toBe(expected));
});

describe('packages that are moved', () => {
  it('lose what describes the machine that built them, unless it is asked for', async () => {
    const [described] = await tree.push([
      {
        name: 'described',
        files: {
          'bin/described': { program: `#!${tree.prefix('described')}/bin/sh\n` },
          '.spack/spack-build-env.txt': 'HOME=/home/builder\n',
          '.spack/spack-build-out.txt.gz': 'log',
          '.spack/install_manifest.json': '{}',
          '.spack/spec.json': '{}',
          '.spack/repos/builtin/packages/described/package.py': 'recipe',
        },
      },
    ]);
    const names = async (options: Partial<AssembleOptions>) => {
      const image = await assembleImage({ packages: [described!], staging, ...options });
      const folder = mkdtempSync(join(work, 'layout-'));
      await writeLayout(image, folder, 'latest');
      const layout = await ImageLayout.open(folder);
      const { manifest } = await readImage(layout, 'latest');
      const layer = { descriptor: manifest.layers[0]!, open: () => layout.blob(manifest.layers[0]!) };
      const { files } = await filesOfLayer(layer, staging);
      const all = Object.entries(files).filter(([, kind]) => kind === 'file');
      return all.map(([path]) => /\/\.spack\/(.*)$/.exec(path)?.[1]).filter((one) => one !== undefined);
    };
    const kept = ['repos/builtin/packages/described/package.py', 'spec.json'];
    const left = [
      'binary_distribution',
      'install_manifest.json',
      'spack-build-env.txt',
      'spack-build-out.txt.gz',
    ];
    expect((await names({ installRoot: '/opt/moved' })).sort()).toEqual(kept);
    expect((await names({ installRoot: '/opt/moved', buildFiles: true })).sort()).toEqual(
      [...kept, ...left].sort(),
    );
    expect((await names({})).sort()).toEqual([...kept, ...left].sort());
  });
});
