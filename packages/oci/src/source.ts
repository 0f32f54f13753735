import type { Readable } from 'node:stream';
import {
  type Descriptor,
  type ImageConfig,
  type ImageIndex,
  isIndexType,
  type Manifest,
  type Platform,
} from './descriptor.js';
import { OciError } from './error.js';

/** Bytes of a manifest: what the distribution specification (1.1, "Pushing Manifests") asks registries to accept. */
export const manifestLimit = 4 * 1024 * 1024;
/** Bytes of an image's configuration. Real ones have some kilobytes. */
const configLimit = 8 * 1024 * 1024;

/** Where an image can be read from: a layout on disk and a registry's repository both answer this. */
export interface ImageSource {
  /** For messages. */
  readonly name: string;
  /** The descriptor and the exact bytes of a tag's or digest's manifest or index; undefined when there is none. */
  manifest(
    tagOrDigest: string,
    signal?: AbortSignal,
  ): Promise<{ descriptor: Descriptor; bytes: Buffer } | undefined>;
  /** A blob's bytes, checked against its descriptor while they are read. */
  blob(descriptor: Descriptor, signal?: AbortSignal): Promise<Readable>;
}

/** An image whose manifest and configuration have been read and checked. */
export interface Image {
  readonly descriptor: Descriptor;
  readonly manifest: Manifest;
  readonly config: ImageConfig;
}

/**
 * Reads an image's manifest and configuration, choosing a platform where the tag is an index.
 * @throws OciError when there is no such tag, no such platform, or the content is not an image
 */
export async function readImage(
  source: ImageSource,
  tagOrDigest: string,
  platform: Platform = { os: 'linux', architecture: 'amd64' },
  signal?: AbortSignal,
): Promise<Image> {
  const found = await source.manifest(tagOrDigest, signal);
  if (!found)
    throw new OciError('not-found', `${source.name} has no image "${tagOrDigest}".`, {
      reference: tagOrDigest,
    });
  const document = parseJson(found.bytes, `${source.name}: the manifest of ${tagOrDigest}`) as Manifest &
    ImageIndex;
  if (isIndexType(document.mediaType ?? found.descriptor.mediaType) || Array.isArray(document.manifests)) {
    const match = document.manifests.find(
      (entry) => entry.platform?.os === platform.os && entry.platform.architecture === platform.architecture,
    );
    if (!match) {
      const offered = document.manifests
        .map((entry) => `${entry.platform?.os}/${entry.platform?.architecture}`)
        .join(', ');
      throw new OciError(
        'not-found',
        `${source.name}:${tagOrDigest} has no image for ${platform.os}/${platform.architecture}.`,
        {
          hint: `It has ${offered || 'none'}.`,
        },
      );
    }
    return readImage(source, match.digest, platform, signal);
  }
  if (!document.config || !Array.isArray(document.layers)) {
    throw new OciError('malformed', `${source.name}: ${tagOrDigest} is not an image manifest.`);
  }
  const config = parseJson(
    await readAll(await source.blob(document.config, signal), configLimit),
    `${source.name}: the configuration of ${tagOrDigest}`,
  ) as ImageConfig;
  return { descriptor: found.descriptor, manifest: document, config };
}

/**
 * Everything a stream holds. Only for what is small by its nature, such as configurations.
 * @param limit bytes
 * @throws OciError `too-large`
 */
export async function readAll(stream: Readable, limit = 64 * 1024 * 1024): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    length += chunk.length;
    // Leaving the loop destroys the stream.
    if (length > limit) throw new OciError('too-large', `A document is larger than ${limit} bytes.`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, length);
}

function parseJson(bytes: Buffer, what: string): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch (error) {
    throw new OciError('malformed', `${what} is not JSON: ${(error as Error).message}.`);
  }
}
