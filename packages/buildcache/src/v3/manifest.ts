import { type Descriptor, mediaTypes } from '@stackwright/oci';
import { type ObjectInfo, type ObjectStore, readObject, StorageError } from '@stackwright/storage';
import { BuildcacheError } from '../error.js';
import { type IndexStatement, parseIndexStatement } from '../index/index-statement.js';
import { parseStatement, type Statement } from '../statement.js';
import { checksumOf, digestOfChecksum, isSpecType, mediaType, specTypes } from './layout.js';

/** What a manifest says of one blob (v3 layout). */
export interface BlobRecord {
  /** Bytes as stored, compressed where it is. */
  readonly contentLength: number;
  readonly mediaType: string;
  readonly compression: 'gzip' | 'none';
  readonly checksumAlgorithm: 'sha256';
  /** Lower-case hexadecimal, of the bytes as stored. */
  readonly checksum: string;
}

export interface Manifest {
  readonly version: 3;
  readonly data: readonly BlobRecord[];
  /** What the manifest says of its package beyond what Spack writes. */
  readonly stackwright?: Statement;
  /** What the manifest of a signed index says of it. */
  readonly stackwrightIndex?: IndexStatement;
}

/** What a manifest says of a blob, under Spack's name for its kind. */
export function recordOf(blob: Descriptor, type: string, compression: BlobRecord['compression']): BlobRecord {
  return {
    contentLength: blob.size,
    mediaType: type,
    compression,
    checksumAlgorithm: 'sha256',
    checksum: checksumOf(blob.digest),
  };
}

/** The blob that a record describes. A package's tarball gets the name that it has as an image's layer. */
export function blobOf({ mediaType: type, checksum, contentLength }: BlobRecord): Descriptor {
  return {
    mediaType: type === mediaType.tarball ? mediaTypes.layerGzip : type,
    digest: digestOfChecksum(checksum),
    size: contentLength,
  };
}

/** A package's manifest: its tarball, its spec, and what else is known of it. */
export function packageManifest(tarball: Descriptor, spec: Descriptor, statement?: Statement): Manifest {
  return {
    version: 3,
    data: [recordOf(tarball, mediaType.tarball, 'gzip'), recordOf(spec, spec.mediaType, 'gzip')],
    stackwright: statement,
  };
}

/** Bytes a manifest may have at most: real ones have about 1,400. */
const manifestLimit = 1024 * 1024;

/** A manifest's bytes. @throws BuildcacheError `manifest` for more than a manifest can have; StorageError */
export async function readManifest(
  store: ObjectStore,
  key: string,
  signal?: AbortSignal,
): Promise<{ bytes: Buffer; info: ObjectInfo }> {
  try {
    return await readObject(store, key, manifestLimit, signal);
  } catch (error) {
    if (!(error instanceof StorageError) || error.code !== 'invalid') throw error;
    throw new BuildcacheError('manifest', error.message, { mirror: store.url, key }, { cause: error });
  }
}

/** Writes a manifest as Spack does: one value a line, no spaces, no line break at the end. */
export function formatManifest({ version, data, stackwright, stackwrightIndex }: Manifest): string {
  const records = data.map(({ contentLength, mediaType, compression, checksumAlgorithm, checksum }) => ({
    contentLength,
    mediaType,
    compression,
    checksumAlgorithm,
    checksum,
  }));
  return oneValueALine({ version, data: records, stackwright, stackwrightIndex });
}

/** A manifest's text with another statement. All else that stands in it stays, keys of others too. */
export function withStatement(text: string, stackwright: Statement): string {
  return oneValueALine({ ...JSON.parse(text), stackwright });
}

/** JSON as Spack writes manifests. In ASCII, and in short lines: gpg does not sign lines of 20,000 bytes. */
function oneValueALine(value: unknown): string {
  if (typeof value !== 'object' || value === null) {
    return JSON.stringify(value).replace(
      /[\x7f-\uffff]/g,
      (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
    );
  }
  const [open, close] = Array.isArray(value) ? '[]' : '{}';
  const items = Array.isArray(value)
    ? value.map(oneValueALine)
    : Object.entries(value)
        .filter(([, item]) => item !== undefined)
        .map(([key, item]) => `${oneValueALine(key)}:${oneValueALine(item)}`);
  return items.length === 0 ? `${open}${close}` : `${open}\n${items.join(',\n')}\n${close}`;
}

/** Reads a manifest's JSON. @param where names it in messages @throws BuildcacheError `manifest` */
export function parseManifest(text: string, where: string): Manifest {
  const refuse = (why: string, hint?: string): never => {
    throw new BuildcacheError('manifest', `${where}: ${why}`, { key: where, hint });
  };
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    return refuse(`the manifest is not JSON: ${(error as Error).message}.`);
  }
  if (typeof json !== 'object' || json === null) return refuse('the manifest is no JSON object.');
  const { version, data, stackwright, stackwrightIndex } = json as Record<string, unknown>;
  if (version !== 3) {
    return refuse(
      `the manifest has layout version ${JSON.stringify(version)}, expected 3.`,
      'Update Stackwright, or migrate the mirror.',
    );
  }
  if (!Array.isArray(data) || data.length === 0) return refuse('the manifest lists no blobs.');
  const records = data.map((record, index) => parseRecord(record, index, refuse));
  const twice = records.find(({ mediaType: type }, at) =>
    records.some((one, before) => before < at && one.mediaType === type),
  );
  // Which of them is meant, each reader would decide for itself.
  if (twice) refuse(`the manifest has two blobs of type ${twice.mediaType}.`);
  return {
    version: 3,
    data: records,
    stackwright: parseStatement(stackwright, where),
    stackwrightIndex: parseIndexStatement(stackwrightIndex, where),
  };
}

/** The first record of one of these media types. @throws BuildcacheError `manifest` when there is none */
export function findRecord(manifest: Manifest, types: readonly string[], where: string): BlobRecord {
  const record = manifest.data.find((one) => types.includes(one.mediaType));
  if (record) return record;
  throw new BuildcacheError('manifest', `${where}: the manifest has no blob of type ${types.join(' or ')}.`, {
    key: where,
    hint: 'Update Stackwright if a newer Spack wrote it; else push the package again.',
  });
}

/** The record of a package's spec. @throws BuildcacheError `newer` for one of an unknown version, `manifest` */
export function findSpec(manifest: Manifest, where: string): BlobRecord {
  const known = manifest.data.some((one) => specTypes.includes(one.mediaType));
  const newer = manifest.data.find((one) => isSpecType(one.mediaType));
  if (known || !newer) return findRecord(manifest, specTypes, where);
  throw new BuildcacheError(
    'newer',
    `${where}: the spec is of type ${newer.mediaType}, which is not known.`,
    {
      key: where,
      hint: 'A newer Spack wrote it. Update Stackwright.',
    },
  );
}

function parseRecord(raw: unknown, index: number, refuse: (why: string) => never): BlobRecord {
  if (typeof raw !== 'object' || raw === null) return refuse(`blob ${index} of the manifest is no object.`);
  const { contentLength, mediaType, compression, checksumAlgorithm, checksum } = raw as Record<
    string,
    unknown
  >;
  if (!Number.isSafeInteger(contentLength) || (contentLength as number) < 0)
    return refuse(`blob ${index} of the manifest has no valid contentLength.`);
  if (typeof mediaType !== 'string') return refuse(`blob ${index} of the manifest has no mediaType.`);
  if (compression !== 'gzip' && compression !== 'none')
    return refuse(
      `blob ${index} of the manifest has the unknown compression ${JSON.stringify(compression)}.`,
    );
  if (checksumAlgorithm !== 'sha256')
    return refuse(
      `blob ${index} of the manifest has the unknown checksum algorithm ${JSON.stringify(checksumAlgorithm)}.`,
    );
  if (typeof checksum !== 'string' || !/^[0-9a-f]{64}$/.test(checksum))
    return refuse(`blob ${index} of the manifest has no valid sha256 checksum.`);
  return { contentLength: contentLength as number, mediaType, compression, checksumAlgorithm, checksum };
}
