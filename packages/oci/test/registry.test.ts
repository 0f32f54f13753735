import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import { has, htpasswd, startRegistry } from '@stackwright/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  digestOf,
  ImageLayout,
  mediaTypes,
  OciError,
  RegistryRepository,
  readAll,
  readImage,
} from '../src/index.js';

const reason = has('docker-registry')
  ? ''
  : ' (skipped: needs docker-registry; apt-get install docker-registry)';

async function image(layout: ImageLayout) {
  const tar = Buffer.alloc(1024);
  const layer = await layout.putStream(Readable.from([gzipSync(tar)]), mediaTypes.layerGzip);
  const config = await layout.putBytes(
    JSON.stringify({
      architecture: 'amd64',
      os: 'linux',
      rootfs: { type: 'layers', diff_ids: [digestOf(tar)] },
    }),
    mediaTypes.config,
  );
  const bytes = JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.manifest, config, layers: [layer] });
  const manifest = await layout.putBytes(bytes, mediaTypes.manifest);
  await layout.tag('latest', manifest);
  return { layer, config, manifest, bytes };
}

describe.skipIf(reason !== '')(`a real registry${reason}`, () => {
  let registry: Awaited<ReturnType<typeof startRegistry>>;
  const folder = mkdtempSync(join(tmpdir(), 'oci-'));
  beforeAll(async () => {
    registry = await startRegistry();
  });
  afterAll(async () => {
    await registry?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  it('takes an image blob by blob and gives it back', async () => {
    const layout = await ImageLayout.create(join(folder, 'a'));
    const { layer, config, bytes } = await image(layout);
    const target = new RegistryRepository(registry.host, 'some/image');
    expect(await target.manifest('latest')).toBeUndefined();
    expect(await target.putBlob(layer, () => layout.blob(layer))).toBe(true);
    expect(await target.putBlob(layer, () => layout.blob(layer))).toBe(false);
    await target.putBlob(config, () => layout.blob(config));
    await target.putManifest('latest', Buffer.from(bytes), mediaTypes.manifest);
    const back = await readImage(target, 'latest');
    expect(back.manifest.layers).toEqual([layer]);
    expect(back.config.architecture).toBe('amd64');
    expect(digestOf(await readAll(await target.blob(layer)))).toBe(layer.digest);
    const tags = [];
    for await (const tag of target.tags()) tags.push(tag);
    expect(tags).toEqual(['latest']);
  });

  it('mounts a blob of another repository instead of sending it', async () => {
    const layout = await ImageLayout.create(join(folder, 'b'));
    const { layer } = await image(layout);
    await new RegistryRepository(registry.host, 'first').putBlob(layer, () => layout.blob(layer));
    let opened = false;
    const sent = await new RegistryRepository(registry.host, 'second').putBlob(
      layer,
      () => {
        opened = true;
        return layout.blob(layer);
      },
      { from: 'first' },
    );
    expect([sent, opened]).toEqual([false, false]);
  });

  it('says that a registry is not there', async () => {
    const nowhere = new RegistryRepository('127.0.0.1:9', 'x', { attempts: 1 });
    await expect(nowhere.manifest('latest')).rejects.toMatchObject({ kind: 'missing', name: 'OciError' });
  });
});

describe.skipIf(reason !== '')(`a registry with a password${reason}`, () => {
  let registry: Awaited<ReturnType<typeof startRegistry>>;
  beforeAll(async () => {
    registry = await startRegistry(htpasswd);
  });
  afterAll(() => registry?.stop());

  it('is asked again with credentials, and says so when they are missing', async () => {
    const credentials = async () => ({ username: 'robot', password: 'secret' });
    expect(
      await new RegistryRepository(registry.host, 'x', { credentials }).manifest('latest'),
    ).toBeUndefined();
    await expect(new RegistryRepository(registry.host, 'x').manifest('latest')).rejects.toThrow(
      /refused the credentials/,
    );
  });
});

describe('an image layout', () => {
  const folder = mkdtempSync(join(tmpdir(), 'oci-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it.skipIf(!has('skopeo'))('is read by skopeo (needs skopeo; apt-get install skopeo)', async () => {
    await image(await ImageLayout.create(join(folder, 'c')));
    const told = JSON.parse(
      execFileSync('skopeo', ['inspect', `oci:${join(folder, 'c')}:latest`], { encoding: 'utf8' }),
    );
    expect(told.Architecture).toBe('amd64');
  });

  it('keeps only what a tag reaches', async () => {
    const layout = await ImageLayout.create(join(folder, 'd'));
    const { manifest } = await image(layout);
    await layout.putBytes('left over', 'text/plain');
    expect(await layout.collectGarbage()).toBe(1);
    expect((await layout.manifest('latest'))?.descriptor.digest).toBe(manifest.digest);
  });

  it('refuses a blob whose bytes are not what the descriptor says', async () => {
    const layout = await ImageLayout.create(join(folder, 'e'));
    const blob = await layout.putBytes('honest', 'text/plain');
    await import('node:fs/promises').then((fs) => fs.writeFile(layout.path(blob), 'forged'));
    const reading = layout.blob(blob).then(readAll);
    await expect(reading).rejects.toThrow(OciError);
  });
});
