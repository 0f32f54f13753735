import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { digestOf, ImageLayout, mediaTypes, readImage } from '@stackwright/oci';
import { afterAll, describe, expect, it } from 'vitest';
import {
  assembleImage,
  openBase,
  Staging,
  searchOrder,
  spdx,
  writeDockerArchive,
  writeLayout,
} from '../src/index.js';
import { has, hostBase, lock, packages, runImage, stack } from './quickstart.js';

const work = mkdtempSync(join(tmpdir(), 'image-'));
afterAll(() => rmSync(work, { recursive: true, force: true }));
const staging = () => Staging.open(mkdtempSync(join(work, 'staging-')));
const runtime = has('runc', 'umoci');
const needsRuntime = runtime ? '' : ' (skipped: apt-get install runc umoci)';
const settings = { command: ['hello-static'] };

describe('an image of the quickstart stack', () => {
  it("is made of the mirror's blobs as they are, and the same each time", async () => {
    const blobs = packages();
    const first = await assembleImage({ packages: blobs, staging: await staging(), settings });
    const second = await assembleImage({ packages: blobs, staging: await staging(), settings });
    expect(first.manifest.descriptor).toEqual(second.manifest.descriptor);
    expect(first.layers.map((layer) => layer.descriptor.digest)).toEqual(
      blobs.map((blob) => blob.descriptor.digest),
    );
    expect(first.packages.every(({ origin }) => origin === 'mirror')).toBe(true);
    const folder = join(work, 'layout');
    await writeLayout(first, folder, 'latest');
    const image = await readImage(await ImageLayout.open(folder), 'latest');
    expect(image.config.rootfs.diff_ids).toHaveLength(blobs.length);
  });

  it.skipIf(!runtime)(`runs its default command${needsRuntime}`, async () => {
    const image = await assembleImage({ packages: packages(), staging: await staging(), settings });
    await writeLayout(image, join(work, 'run'), 'latest');
    expect(runImage(join(work, 'run'), 'latest')).toMatch(/^hello from /);
  });

  it('puts the roots and what they run on the search paths', async () => {
    const searched = searchOrder(lock);
    const image = await assembleImage({ packages: packages(), staging: await staging(), searched, settings });
    const { Env } = JSON.parse(image.config.bytes.toString()).config;
    const path = Env.find((entry: string) => entry.startsWith('PATH='))
      .slice(5)
      .split(':');
    const names = path
      .slice(0, 4)
      .map((folder: string) => /([a-z-]+)-[\d.]+-[a-z2-7]{32}\/bin$/.exec(folder)?.[1]);
    expect(names).toEqual(['hello-static', 'chorus', 'greet-scripts', 'hello']);
    expect(path).toContain('/usr/bin');
  });

  it.skipIf(!runtime)(
    `has few layers where many are not allowed, and runs all the same${needsRuntime}`,
    async () => {
      const image = await assembleImage({
        packages: packages(),
        staging: await staging(),
        settings,
        mostLayers: 3,
      });
      expect(image.layers).toHaveLength(3);
      await writeLayout(image, join(work, 'merged'), 'latest');
      expect(runImage(join(work, 'merged'), 'latest')).toMatch(/^hello from /);
    },
  );

  it.skipIf(!runtime)(
    `runs programs that find their libraries under another root, on a base image${needsRuntime}`,
    async () => {
      const base = await hostBase(join(work, 'base'));
      const image = await assembleImage({
        packages: packages(),
        searched: searchOrder(lock),
        staging: await staging(),
        installRoot: '/opt/qs',
        base,
      });
      expect(image.packages.map(({ origin }) => origin)).toEqual(packages().map(() => 'relocated'));
      const again = await assembleImage({
        packages: packages(),
        searched: searchOrder(lock),
        staging: await staging(),
        installRoot: '/opt/qs',
        base,
      });
      expect(again.manifest.descriptor).toEqual(image.manifest.descriptor);
      await writeLayout(image, join(work, 'moved'), 'latest');
      const prefix = (name: string) =>
        image.packages.find((layer) => layer.package.node.name === name)!.prefix;
      expect(prefix('libgreet')).toMatch(/^\/opt\/qs\//);
      // The padding of the string in the library becomes slashes at its front, as in Spack.
      expect(runImage(join(work, 'moved'), 'latest', ['hello'])).toMatch(
        new RegExp(`^hello from /*${prefix('libgreet')}\n$`),
      );
      expect(runImage(join(work, 'moved'), 'latest', ['chorus'])).toBe('HELLO FROM THE CHORUS\n');
      expect(runImage(join(work, 'moved'), 'latest', ['greet-all', 'a', 'b'])).toBe(
        'hello from a\nhello from b\n',
      );
    },
  );

  it('on a base without a history counts its layers, and tells of every one', async () => {
    const layout = await ImageLayout.create(join(work, 'bare'));
    const tars = ['one', 'two'].map((name) => Buffer.alloc(1024, name));
    const config = {
      architecture: 'amd64',
      os: 'linux',
      rootfs: { type: 'layers', diff_ids: tars.map((tar) => digestOf(tar)) },
    };
    const put = (document: object, type: string) => layout.putBytes(JSON.stringify(document), type);
    const manifest = {
      schemaVersion: 2,
      mediaType: mediaTypes.manifest,
      config: await put(config, mediaTypes.config),
      layers: await Promise.all(tars.map((tar) => layout.putBytes(gzipSync(tar), mediaTypes.layerGzip))),
    };
    await layout.tag('latest', await put(manifest, mediaTypes.manifest));
    const base = await openBase('oci:bare', { cwd: work, env: {} });
    const read = async (mostLayers?: number) => {
      const image = await assembleImage({ packages: packages(), base, staging: await staging(), mostLayers });
      const { rootfs, history } = JSON.parse(image.config.bytes.toString());
      return [image.layers.length, rootfs.diff_ids.length, history.length];
    };
    const all = packages().length + 2;
    expect(await read()).toEqual([all, all, all]);
    expect(await read(5)).toEqual([5, 5, 5]);
  });

  it('is refused when a byte of a blob is flipped, with the package and the file named', async () => {
    const mirror = join(work, 'flipped');
    cpSync(join(stack, 'mirror'), mirror, { recursive: true });
    const blobs = packages(mirror);
    const victim = blobs.find(({ node }) => node.name === 'libgreet')!;
    const bytes = readFileSync(victim.path!);
    bytes[bytes.length >> 1]! ^= 1;
    writeFileSync(victim.path!, bytes);
    const output = join(work, 'never');
    const making = staging()
      .then((folder) => assembleImage({ packages: blobs, staging: folder, settings }))
      .then((image) => writeLayout(image, output, 'latest'));
    await expect(making).rejects.toMatchObject({
      kind: 'input',
      message: expect.stringMatching(/libgreet@1\.2\.0.*digest/),
    });
    expect(existsSync(output)).toBe(false);
  });

  it('is refused when a blob is cut short', async () => {
    const [first, ...rest] = packages();
    const short = { ...first!, descriptor: { ...first!.descriptor, size: first!.descriptor.size + 1 } };
    const making = staging().then((folder) => assembleImage({ packages: [short, ...rest], staging: folder }));
    await expect(making).rejects.toMatchObject({
      kind: 'input',
      message: expect.stringContaining('bytes instead of'),
    });
  });

  it.skipIf(!has('skopeo'))(
    'is an archive that docker and skopeo read (needs skopeo: apt-get install skopeo)',
    async () => {
      const image = await assembleImage({ packages: packages(), staging: await staging(), settings });
      const file = join(work, 'image.tar');
      await writeDockerArchive(image, file, 'quickstart:latest');
      const told = JSON.parse(
        execFileSync('skopeo', ['inspect', '--config', `docker-archive:${file}`], { encoding: 'utf8' }),
      );
      expect(told.config.Cmd).toEqual(['hello-static']);
    },
  );

  it('has a bill of materials with every package and edge', async () => {
    const { bill } = await assembleImage({ packages: packages(), staging: await staging() });
    const document = JSON.parse(spdx('quickstart', bill, '1970-01-01T00:00:00Z'));
    expect(document.packages.map((p: { name: string }) => p.name)).toContain('libchorus');
    const edges = document.relationships.filter(
      (r: { relationshipType: string }) => r.relationshipType === 'DEPENDS_ON',
    );
    expect(
      edges.some(
        (e: { spdxElementId: string; relatedSpdxElement: string }) =>
          /libchorus/.test(e.spdxElementId) && /libgreet/.test(e.relatedSpdxElement),
      ),
    ).toBe(true);
  });
});
