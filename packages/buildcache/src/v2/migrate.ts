import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { type Digest, mediaTypes } from '@stackwright/oci';
import type { ObjectStore } from '@stackwright/storage';
import pLimit from 'p-limit';
import { BuildcacheError } from '../error.js';
import { readLayerFacts } from '../layer-facts.js';
import type { SignaturePolicy } from '../mirror.js';
import { describe, type PackageRef } from '../package-ref.js';
import type { Signer } from '../sign/signature.js';
import { statementOf } from '../statement.js';
import { isThere } from '../v3/copy.js';
import { mediaType, v3 } from '../v3/layout.js';
import { formatManifest, packageManifest } from '../v3/manifest.js';
import { preparePush, publishKey, putBlob } from '../v3/push.js';
import type { V3Reader } from '../v3/reader.js';
import { specBlob } from '../v3/spec-blob.js';
import { readV2Package, type V2Package, v2Keys, v2Packages, v3SpecText } from './package.js';

export interface MigrateOptions {
  readonly policy: SignaturePolicy;
  readonly signer?: Signer;
  readonly parallel?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * Brings the packages of a v2 mirror into a v3 mirror, which may be in the same place. The tarballs' bytes stay, checked
 * against their checksums; specs are packed and signed anew.
 */
export async function migrateV2(
  from: ObjectStore,
  to: V3Reader,
  options: MigrateOptions,
): Promise<{ migrated: PackageRef[]; present: PackageRef[]; failed: { package: string; error: Error }[] }> {
  const { signal } = options;
  const packages = await v2Packages(from, signal);
  const limit = pLimit(options.parallel ?? 4);
  const result = {
    migrated: [] as PackageRef[],
    present: [] as PackageRef[],
    failed: [] as { package: string; error: Error }[],
  };
  let done = 0;
  await Promise.all(
    packages.map((found) =>
      limit(async () => {
        try {
          signal?.throwIfAborted();
          const { ref, outcome } = await migratePackage(from, to, found, options);
          result[outcome].push(ref);
        } catch (error) {
          result.failed.push({ package: found.specKey.split('/').at(-1)!, error: error as Error });
        }
        options.onProgress?.(++done, packages.length);
      }),
    ),
  );
  signal?.throwIfAborted();
  for (const armored of await v2Keys(from, signal)) await publishKey(to, armored, signal);
  return result;
}

async function migratePackage(
  from: ObjectStore,
  to: V3Reader,
  found: V2Package,
  options: MigrateOptions,
): Promise<{ ref: PackageRef; outcome: 'migrated' | 'present' }> {
  const { signal } = options;
  const { document, tarballKey, digest } = await readV2Package(from, found, options.policy, signal);
  const { name, version, hash } = document.root;
  const ref = { name, version, hash };
  const info = await from.head(tarballKey, { signal });
  if (!info?.size) {
    throw new BuildcacheError('missing-blob', `${describe(ref)}: ${from.url} lacks ${tarballKey}.`, {
      package: describe(ref),
      key: tarballKey,
    });
  }
  const tarball = { mediaType: mediaTypes.layerGzip, digest, size: info.size };
  const spec = specBlob(v3SpecText(document), describe(ref));
  if (
    await isThere(
      to,
      {
        ...ref,
        tarball,
        spec: spec.descriptor,
        signed: false,
        signedBy: undefined,
        statement: undefined,
        text: undefined,
      },
      options,
    )
  )
    return { ref, outcome: 'present' };
  await checkTarball(from, tarballKey, digest, describe(ref), signal);
  if (from.url === to.store.url && !from.readOnly) {
    if (!(await to.store.head(v3.blob(digest), { signal })))
      await to.store.copy(tarballKey, v3.blob(digest), { signal });
  } else {
    const open = () =>
      Readable.from(
        (async function* () {
          yield* (await from.get(tarballKey, { signal })).body;
        })(),
        { objectMode: false },
      );
    await putBlob(to, tarball, { size: tarball.size, open }, mediaType.tarball, signal);
  }
  await putBlob(to, spec.descriptor, spec.bytes, spec.descriptor.mediaType, signal);
  const body = (await to.store.get(v3.blob(digest), { signal })).body;
  const statement = statementOf(ref, await readLayerFacts(body, describe(ref), signal));
  const manifest = formatManifest(packageManifest(tarball, spec.descriptor, statement));
  await preparePush(to, options.signer, signal);
  const text = options.signer ? await options.signer.sign(manifest, signal) : manifest;
  await to.store.put(v3.spec(ref), Buffer.from(text), { contentType: 'application/json', signal });
  return { ref, outcome: 'migrated' };
}

async function checkTarball(
  store: ObjectStore,
  key: string,
  digest: Digest,
  what: string,
  signal?: AbortSignal,
): Promise<void> {
  const hash = createHash('sha256');
  for await (const chunk of (await store.get(key, { signal })).body as AsyncIterable<Buffer>)
    hash.update(chunk);
  if (`sha256:${hash.digest('hex')}` !== digest) {
    throw new BuildcacheError('checksum', `${what}: the checksum of ${key} is not the one in its spec.`, {
      package: what,
      key,
      hint: 'It was damaged or replaced: push the package again.',
    });
  }
}
