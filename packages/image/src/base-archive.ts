import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import {
  type BaseImage,
  type Descriptor,
  DigestStream,
  type ImageConfig,
  ImageLayout,
  mediaTypes,
  type Platform,
  readAll,
  readImage,
} from '@stackwright/oci';
import { locked } from '@stackwright/storage';
import { extract } from 'tar-stream';
import { ImageError } from './error.js';
import { keyOf } from './layer.js';

/** What `docker save` says of each image in `manifest.json`. */
interface ArchivedImage {
  readonly Config: string;
  readonly RepoTags?: readonly string[] | null;
  readonly Layers: readonly string[];
}

const documentLimit = 8 * 1024 * 1024;

/**
 * Opens an archive that `docker save`, `podman save` or this package wrote, as an image to build on. Its layers are kept
 * in a layout below `work`, and read from the archive once.
 * @param reference which image of several, as `NAME:TAG`
 * @throws ImageError `base`
 */
export async function openDockerArchive(
  file: string,
  reference: string | undefined,
  work: string,
): Promise<BaseImage> {
  const key = await keyOfFile('docker-archive', file, reference ?? '');
  const image = chooseImage(file, await readEntry(file, 'manifest.json'), reference);
  return imported(work, key, async (layout) => {
    const parts = await takeEntries(file, new Set([image.Config, ...image.Layers]), image.Config, layout);
    const layers = image.Layers.map((name) => partOf(parts, name, file));
    return putManifest(layout, partOf(parts, image.Config, file), layers);
  });
}

/**
 * Opens a tar of a file system, packed by gzip or not, as an image to build on: one layer, and nothing that says how to
 * start it.
 * @param platform what the tar is believed to be of
 * @throws ImageError `base`
 */
export async function openRootfs(file: string, platform: Platform, work: string): Promise<BaseImage> {
  const { os, architecture } = platform;
  return imported(work, await keyOfFile('rootfs', file, `${os}/${architecture}`), async (layout) => {
    const content = createReadStream(file);
    const layer = await putLayer(layout, content);
    const config: ImageConfig = {
      architecture,
      os,
      rootfs: { type: 'layers', diff_ids: [await uncompressedDigest(file, layer)] },
      history: [{ created_by: 'root file system' }],
    };
    return putManifest(layout, await layout.putBytes(JSON.stringify(config), mediaTypes.config), [layer]);
  });
}

/** The image of a file in the layout below `work`; it is written there unless the same file was before. */
async function imported(
  work: string,
  tag: string,
  write: (layout: ImageLayout) => Promise<Descriptor>,
): Promise<BaseImage> {
  const layout = await ImageLayout.create(join(work, 'bases'));
  // Several builds may share the folder.
  await locked(join(work, 'bases/index.json'), undefined, async () => {
    if (!(await layout.tags()).includes(tag)) await layout.tag(tag, await write(layout));
  });
  return { source: layout, image: await readImage(layout, tag) };
}

async function keyOfFile(kind: string, file: string, more: string): Promise<string> {
  const found = await stat(file).catch(() => undefined);
  if (!found?.isFile()) throw new ImageError('base', `${file} is no file.`);
  return keyOf(kind, file, String(found.size), String(found.mtimeMs), String(found.ino), more);
}

function chooseImage(file: string, text: Buffer, reference: string | undefined): ArchivedImage {
  const images = JSON.parse(text.toString('utf8')) as ArchivedImage[];
  const names = images.flatMap(({ RepoTags }) => RepoTags ?? []);
  const found = reference
    ? images.find(({ RepoTags }) => RepoTags?.includes(reference))
    : images.length === 1
      ? images[0]
      : undefined;
  if (found) return found;
  const hint = `It has ${names.join(', ') || 'no named image'}. Write docker-archive:FILE:NAME:TAG.`;
  throw new ImageError('base', `${file} has ${reference ? `no image ${reference}` : 'several images'}.`, {
    hint,
  });
}

async function readEntry(file: string, name: string): Promise<Buffer> {
  for await (const entry of entriesOf(file)) {
    if (posix.normalize(entry.header.name) === name) return readAll(entry, documentLimit);
    entry.resume();
  }
  throw new ImageError('base', `${file} has no ${name}: it is no archive that "docker save" writes.`);
}

async function takeEntries(
  file: string,
  wanted: ReadonlySet<string>,
  config: string,
  layout: ImageLayout,
): Promise<Map<string, Descriptor>> {
  const parts = new Map<string, Descriptor>();
  for await (const entry of entriesOf(file)) {
    const name = posix.normalize(entry.header.name);
    if (!wanted.has(name) || entry.header.type !== 'file') entry.resume();
    else if (name === config)
      parts.set(name, await layout.putBytes(await readAll(entry, documentLimit), mediaTypes.config));
    else parts.set(name, await putLayer(layout, entry));
  }
  return parts;
}

async function* entriesOf(file: string) {
  const reader = extract();
  const running = pipeline(createReadStream(file), reader);
  running.catch(() => {});
  try {
    for await (const entry of reader) yield entry as typeof entry & Readable;
  } catch (error) {
    throw new ImageError('base', `${file} cannot be read as a tar: ${(error as Error).message}.`);
  } finally {
    reader.destroy();
  }
}

/** Layers in archives may be packed or not; their first bytes say it. */
async function putLayer(layout: ImageLayout, content: Readable): Promise<Descriptor> {
  let packed = false;
  let first = true;
  const seen = async function* (source: AsyncIterable<Buffer>) {
    for await (const chunk of source) {
      if (first) packed = chunk[0] === 0x1f && chunk[1] === 0x8b;
      first = false;
      yield chunk;
    }
  };
  const bytes = Readable.from(seen(content), { objectMode: false });
  const descriptor = await layout.putStream(bytes, mediaTypes.layerTar);
  return packed ? { ...descriptor, mediaType: mediaTypes.layerGzip } : descriptor;
}

async function uncompressedDigest(file: string, { mediaType, digest }: Descriptor) {
  if (mediaType === mediaTypes.layerTar) return digest;
  const uncompressed = new DigestStream();
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  await pipeline(createReadStream(file), createGunzip(), uncompressed, nowhere);
  return uncompressed.digest;
}

function partOf(parts: ReadonlyMap<string, Descriptor>, name: string, file: string): Descriptor {
  const found = parts.get(name);
  if (!found) throw new ImageError('base', `${file} lacks ${name}, which its manifest.json names.`);
  return found;
}

function putManifest(
  layout: ImageLayout,
  config: Descriptor,
  layers: readonly Descriptor[],
): Promise<Descriptor> {
  const manifest = { schemaVersion: 2, mediaType: mediaTypes.manifest, config, layers };
  return layout.putBytes(JSON.stringify(manifest), mediaTypes.manifest);
}
