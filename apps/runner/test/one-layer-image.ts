import { gzipSync } from 'node:zlib';
import { type Digest, digestOf, ImageLayout, mediaTypes } from '@stackwright/oci';

/** Writes an image of one layer as `latest` into a new layout. Returns its digest. */
export async function oneLayerImage(folder: string, architecture: string, tar: Buffer): Promise<Digest> {
  const layout = await ImageLayout.create(folder);
  const config = { architecture, os: 'linux', rootfs: { type: 'layers', diff_ids: [digestOf(tar)] } };
  const manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: await layout.putBytes(JSON.stringify(config), mediaTypes.config),
    layers: [await layout.putBytes(gzipSync(tar), mediaTypes.layerGzip)],
  };
  const descriptor = await layout.putBytes(JSON.stringify(manifest), mediaTypes.manifest);
  await layout.tag('latest', descriptor);
  return descriptor.digest;
}
