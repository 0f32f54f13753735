import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { type Descriptor, digestOf, ImageLayout, mediaTypes } from '@stackwright/oci';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { assembleImage, openBase, type PackageBlob, platformOf, Staging } from '../src/index.js';
import { MadeTree } from './made.js';

const work = mkdtempSync(join(tmpdir(), 'platform-'));
afterAll(() => rmSync(work, { recursive: true, force: true }));

/** Bases of these architectures in one layout: each under its own name, and all of them as an index `all`. */
async function layoutOf(architectures: readonly string[]): Promise<void> {
  const layout = await ImageLayout.create(join(work, 'bases'));
  const tar = Buffer.alloc(1024);
  const manifests: Descriptor[] = [];
  for (const architecture of architectures) {
    const config = { architecture, os: 'linux', rootfs: { type: 'layers', diff_ids: [digestOf(tar)] } };
    const manifest = {
      schemaVersion: 2,
      mediaType: mediaTypes.manifest,
      config: await layout.putBytes(JSON.stringify(config), mediaTypes.config),
      layers: [await layout.putBytes(gzipSync(tar), mediaTypes.layerGzip)],
    };
    const descriptor = await layout.putBytes(JSON.stringify(manifest), mediaTypes.manifest);
    await layout.tag(architecture, descriptor);
    manifests.push({ ...descriptor, platform: { os: 'linux', architecture } });
  }
  const index = { schemaVersion: 2, mediaType: mediaTypes.index, manifests };
  await layout.tag('all', await layout.putBytes(JSON.stringify(index), mediaTypes.index));
}

describe('the platform of an image', () => {
  let arm: PackageBlob[];
  let mixed: PackageBlob[];
  beforeAll(async () => {
    const tree = new MadeTree(work);
    arm = await tree.push([{ name: 'arm', target: 'neoverse_n1', files: { note: 'x' } }]);
    mixed = [...arm, ...(await tree.push([{ name: 'intel', target: 'x86_64_v3', files: { note: 'x' } }]))];
    await layoutOf(['amd64', 'arm64']);
  });
  const assemble = async (packages: PackageBlob[], tag: string) => {
    const platform = platformOf(packages.map(({ node }) => node));
    const base = await openBase(`oci:bases:${tag}`, { cwd: work, env: {}, platform });
    const image = await assembleImage({
      packages,
      base,
      staging: await Staging.open(mkdtempSync(join(work, 'staging-'))),
    });
    return JSON.parse(image.config.bytes.toString());
  };

  it("is the packages': an index is asked for it", async () => {
    expect(await assemble(arm, 'all')).toMatchObject({ os: 'linux', architecture: 'arm64' });
    expect(await assemble(arm, 'arm64')).toMatchObject({ architecture: 'arm64' });
  });

  it('is refused on a base of another, and both are named', async () => {
    await expect(assemble(arm, 'amd64')).rejects.toMatchObject({
      code: 'platform',
      kind: 'input',
      message: expect.stringMatching(/for linux\/arm64.*bases.*for linux\/amd64/),
    });
  });

  it('is refused where an index lacks it, and what it has is told', async () => {
    const layout = await ImageLayout.create(join(work, 'bases'));
    const manifests = [
      { ...(await layout.manifest('amd64'))!.descriptor, platform: { os: 'linux', architecture: 'amd64' } },
    ];
    const index = { schemaVersion: 2, mediaType: mediaTypes.index, manifests };
    await layout.tag('intel', await layout.putBytes(JSON.stringify(index), mediaTypes.index));
    await expect(assemble(arm, 'intel')).rejects.toMatchObject({
      message: expect.stringContaining('no image for linux/arm64'),
      hint: expect.stringContaining('linux/amd64'),
    });
  });

  it('is refused where the packages are of several', async () => {
    await expect(assemble(mixed, 'all')).rejects.toMatchObject({
      code: 'platform',
      message: expect.stringContaining('neoverse_n1, x86_64_v3'),
    });
  });
});
