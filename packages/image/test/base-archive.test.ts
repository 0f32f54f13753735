import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { ImageLayout, readImage } from '@stackwright/oci';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  assembleImage,
  missingParts,
  openBase,
  type PackageBlob,
  Staging,
  writeDockerArchive,
  writeLayout,
} from '../src/index.js';
import { MadeTree } from './made.js';
import { has, hostBase, runImage } from './quickstart.js';

const work = mkdtempSync(join(tmpdir(), 'archive-'));
afterAll(() => rmSync(work, { recursive: true, force: true }));
let staging: Staging;
let packages: PackageBlob[];

beforeAll(async () => {
  staging = await Staging.open(join(work, 'staging'));
  packages = await new MadeTree(work).push([
    { name: 'say', files: { 'bin/say': { program: '#!/bin/sh\necho it works\n' } } },
  ]);
  const base = await hostBase(join(work, 'base'));
  const image = await assembleImage({ packages, base, staging });
  await writeDockerArchive(image, join(work, 'base.tar'), 'base:1');
  const layer = (await ImageLayout.open(join(work, 'base'))).path(base.image.manifest.layers[0]!);
  writeFileSync(join(work, 'rootfs.tar.gz'), readFileSync(layer));
  writeFileSync(join(work, 'rootfs.tar'), gunzipSync(readFileSync(layer)));
  if (has('skopeo'))
    execFileSync(
      'skopeo',
      ['copy', `oci:${join(work, 'base')}:latest`, `docker-archive:${join(work, 'saved.tar')}:saved:1`],
      {
        stdio: 'ignore',
      },
    );
});

const open = (text: string) => openBase(text, { cwd: work, env: {}, work: staging.folder });

describe('a base that is a file', () => {
  it.each([
    'docker-archive:base.tar',
    'docker-archive:base.tar:base:1',
    'rootfs:rootfs.tar',
    'rootfs:rootfs.tar.gz',
  ])('%s is built on, and runs', async (text) => {
    const base = await open(text);
    const image = await assembleImage({ packages, base, staging, settings: { command: ['say'] } });
    expect(await missingParts(image, { staging })).toEqual([]);
    const folder = mkdtempSync(join(work, 'layout-'));
    await writeLayout(image, folder, 'latest');
    expect((await readImage(await ImageLayout.open(folder), 'latest')).manifest.layers.length).toBe(
      image.layers.length,
    );
    if (has('runc', 'umoci')) expect(runImage(folder, 'latest')).toBe('it works\n');
    // The same file again.
    expect((await open(text))?.image.descriptor).toEqual(base?.image.descriptor);
  });

  it.skipIf(!has('skopeo'))(
    'may be what another tool wrote (skipped without skopeo: apt-get install skopeo)',
    async () => {
      const image = await assembleImage({ packages, base: await open('docker-archive:saved.tar'), staging });
      expect(await missingParts(image, { staging })).toEqual([]);
    },
  );

  it.each([
    ['docker-archive:nowhere.tar', /is no file/],
    ['rootfs:nowhere.tar', /is no file/],
    ['docker-archive:base.tar:other:1', /has no image other:1/],
    ['docker-archive:rootfs.tar', /has no manifest\.json/],
    ['docker-archive:rootfs.tar.gz', /cannot be read as a tar/],
  ])('%s is refused', async (text, message) => {
    await expect(open(text)).rejects.toThrow(message);
  });
});
