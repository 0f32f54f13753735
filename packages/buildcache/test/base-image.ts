import { Readable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import { type Descriptor, digestOf, mediaTypes } from '@stackwright/oci';

/** The blobs of a small image to put packages on. */
export function baseImage() {
  const tar = Buffer.alloc(1024);
  const blob = (bytes: Buffer, mediaType: string) => {
    const descriptor: Descriptor = { mediaType, digest: digestOf(bytes), size: bytes.length };
    return { ...descriptor, descriptor, open: () => Readable.from([bytes]) };
  };
  const config = {
    architecture: 'amd64',
    os: 'linux',
    config: { Env: ['PATH=/usr/bin:/bin', 'BASEVAR=1'], Cmd: ['bash'], WorkingDir: '/' },
    rootfs: { type: 'layers', diff_ids: [digestOf(tar)] },
  };
  return {
    layer: blob(gzipSync(tar), mediaTypes.layerGzip),
    config: blob(Buffer.from(JSON.stringify(config)), mediaTypes.config),
  };
}
