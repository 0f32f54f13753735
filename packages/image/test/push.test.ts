import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { OciMirror } from '@stackwright/buildcache';
import { RegistryRepository, readImage } from '@stackwright/oci';
import { startRegistry } from '@stackwright/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { assembleImage, openBase, type PackageBlob, packageBlob, pushImage, Staging } from '../src/index.js';
import { MadeTree } from './made.js';
import { has } from './quickstart.js';

const work = mkdtempSync(join(tmpdir(), 'push-'));
afterAll(() => rmSync(work, { recursive: true, force: true }));

describe.skipIf(!has('docker-registry'))(
  'an image whose mirror and base are in its registry (skipped without docker-registry: apt-get install docker-registry)',
  () => {
    let registry: Awaited<ReturnType<typeof startRegistry>>;
    let packages: PackageBlob[];
    let staging: Staging;
    beforeAll(async () => {
      registry = await startRegistry();
      staging = await Staging.open(join(work, 'staging'));
      const made = await new MadeTree(work).push(
        ['one', 'two'].map((name) => ({ name, files: { [`bin/${name}`]: { program: '#!/bin/sh\n' } } })),
      );
      packages = made;
    });
    afterAll(() => registry?.stop());

    it('is pushed without sending a layer', async () => {
      const [base, ...rest] = packages as [PackageBlob, PackageBlob];
      const bases = new RegistryRepository(registry.host, 'bases/debian');
      await pushImage(await assembleImage({ packages: [base], staging }), bases, ['12']);
      // As a mirror in this registry has it.
      const cache = new RegistryRepository(registry.host, 'site/cache');
      const blobs = rest.map((blob) => ({
        ...blob,
        repository: { registry: registry.host, repository: cache.repository },
      }));
      for (const blob of blobs) await cache.putBlob(blob.descriptor, () => blob.open());
      const image = await assembleImage({
        packages: blobs,
        base: await openBase(`${registry.host}/bases/debian:12`, { cwd: work, env: {} }),
        staging,
      });
      const target = new RegistryRepository(registry.host, 'images/stack');
      const { sent } = await pushImage(image, target, ['latest']);
      expect(sent).toEqual({ layers: 0, bytes: 0 });
      const { manifest } = await readImage(target, 'latest');
      expect(manifest.layers).toHaveLength(2);
      for (const layer of manifest.layers) expect(await target.has(layer)).toBe(true);
    });

    it('knows the repository of a mirror that is one', () => {
      const mirror = OciMirror.open(`oci+http://${registry.host}/site/cache`);
      const { node, descriptor } = packages[0]!;
      const said = { signed: false, signedBy: undefined, statement: undefined };
      const manifest = { ...node, ...said, tarball: descriptor, spec: descriptor };
      expect(packageBlob(mirror, node, manifest).repository).toEqual({
        registry: registry.host,
        repository: 'site/cache',
      });
    });
  },
);
