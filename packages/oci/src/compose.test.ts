import { describe, expect, it } from 'vitest';
import {
  type ComposedLayer,
  composeImage,
  digestOf,
  type ImageConfig,
  type Manifest,
  mediaTypes,
} from './index.js';

const layer = (name: string): ComposedLayer => ({
  descriptor: { mediaType: mediaTypes.layerGzip, digest: digestOf(name), size: name.length },
  diffId: digestOf(`${name} unpacked`),
  createdBy: name,
});
const platform = { architecture: 'amd64', os: 'linux' };
const below = ['base 1', 'base 2'].map(layer);
const base = (more: Partial<ImageConfig>): { manifest: Manifest; config: ImageConfig } => ({
  manifest: {
    schemaVersion: 2,
    config: { mediaType: mediaTypes.config, digest: digestOf('config'), size: 6 },
    layers: below.map(({ descriptor }) => descriptor),
  },
  config: {
    architecture: 'arm64',
    variant: 'v8',
    os: 'linux',
    config: { Env: ['LANG=C'], Cmd: ['sh'] },
    rootfs: { type: 'layers', diff_ids: below.map(({ diffId }) => diffId) },
    ...more,
  },
});
const read = (image: ReturnType<typeof composeImage>) => ({
  config: JSON.parse(image.config.bytes.toString()) as ImageConfig & Record<string, unknown>,
  manifest: JSON.parse(image.manifest.bytes.toString()) as Manifest,
});

describe('composing an image', () => {
  it('without a base names its layers and tells of each', () => {
    const layers = [layer('a'), layer('b')];
    const image = composeImage({ layers, platform, created: '1970-01-01T00:00:00Z' });
    const { config, manifest } = read(image);
    expect(manifest.layers).toEqual(layers.map(({ descriptor }) => descriptor));
    expect(manifest.config).toEqual(image.config.descriptor);
    expect(image.config.descriptor.digest).toBe(digestOf(image.config.bytes));
    expect(config).toMatchObject({ ...platform, rootfs: { diff_ids: layers.map(({ diffId }) => diffId) } });
    expect(config.history?.map((entry) => entry.created_by)).toEqual(['a', 'b']);
  });

  it.each<[string, ImageConfig['history'], (string | undefined)[]]>([
    ['has no history', undefined, ['base image', 'base image', 'a']],
    ['has an empty history', [], ['base image', 'base image', 'a']],
    [
      'has a history with entries that made no layer',
      [{ created_by: 'ADD' }, { created_by: 'ENV', empty_layer: true }, { created_by: 'RUN' }],
      ['ADD', 'ENV', 'RUN', 'a'],
    ],
    ['tells of some layers only', [{ created_by: 'ADD' }], ['ADD', 'base image', 'a']],
  ])('on a base that %s tells of every layer', (_, history, expected) => {
    const { config, manifest } = read(
      composeImage({ base: base({ history }), layers: [layer('a')], platform }),
    );
    expect(config.history?.map((entry) => entry.created_by)).toEqual(expected);
    const told = config.history?.filter((entry) => !entry.empty_layer);
    expect([told?.length, config.rootfs.diff_ids.length]).toEqual([3, 3]);
    expect(manifest.layers).toHaveLength(3);
  });

  it("keeps the base's platform and settings where nothing else is given", () => {
    const { config } = read(composeImage({ base: base({}), layers: [layer('a')], platform }));
    expect(config).toMatchObject({ architecture: 'arm64', variant: 'v8', config: { Cmd: ['sh'] } });
  });

  it("names a base's layers in OCI's words", () => {
    const docker = base({});
    const mediaType = 'application/vnd.docker.image.rootfs.diff.tar.gzip';
    const layers = docker.manifest.layers.map((one) => ({ ...one, mediaType }));
    const image = composeImage({
      base: { ...docker, manifest: { ...docker.manifest, layers } },
      layers: [],
      platform,
    });
    expect(image.layers.map((one) => one.mediaType)).toEqual([mediaTypes.layerGzip, mediaTypes.layerGzip]);
  });

  it('takes further keys and annotations', () => {
    const parts = {
      layers: [layer('a')],
      platform,
      extra: { spec: { nodes: [] } },
      annotations: { title: 'x' },
    };
    const { config, manifest } = read(composeImage(parts));
    expect([config['spec'], manifest.annotations]).toEqual([{ nodes: [] }, { title: 'x' }]);
  });
});
