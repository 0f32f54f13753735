import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import type { ConcreteNode } from '@stackwright/spack-env';
import { isNotFound, type ObjectStore, readObject } from '@stackwright/storage';
import pLimit from 'p-limit';
import { sha256 } from '../blob.js';
import { BuildcacheError } from '../error.js';
import { databaseEntries, parseEntry } from '../index/database.js';
import { describe, mediaType, type PackageRef, v3 } from '../package-ref.js';
import { parseKeyIndex } from '../sign/key.js';
import { isSigned, type Signer, signedText, verifySigned } from '../sign/signature.js';
import { gzipText, parseSpecDocument, type SpecDocument } from '../spec-document.js';
import { formatManifest, record } from '../v3/manifest.js';
import { preparePush, publishKey, putBlob } from '../v3/push.js';
import type { Mirror, SignaturePolicy } from '../v3/reader.js';

/** A package of a mirror of layout v2 (Spack 0.18 to 0.23). */
export interface V2Package extends PackageRef {
  /** Key of its `.spec.json` or `.spec.json.sig`. */
  readonly specKey: string;
}

const specName = /^build_cache\/[^/]+\.spec\.json(\.sig)?$/;

/** Packages of a v2 mirror, from a listing, or from its index where it cannot be listed. */
export async function v2Packages(store: ObjectStore, signal?: AbortSignal): Promise<V2Package[]> {
  const found = new Map<string, V2Package>();
  if (store.canList) {
    for await (const { key } of store.list('build_cache/', { signal })) {
      if (!specName.test(key)) continue;
      const match = /-([a-z2-7]{32})\.spec\.json(\.sig)?$/.exec(key);
      if (!match || (found.has(match[1]!) && !match[2])) continue;
      found.set(match[1]!, { name: '', version: '', hash: match[1]!, specKey: key });
    }
    return [...found.values()];
  }
  const { body } = await store.get('build_cache/index.json', { signal });
  for await (const entry of databaseEntries(body, `${store.url}/build_cache/index.json`)) {
    const { node, inBuildcache } = parseEntry(entry, store.url);
    if (!inBuildcache) continue;
    const { name, version, hash } = node;
    found.set(hash, { name, version, hash, specKey: `build_cache/${v2Name(node)}.spec.json.sig` });
  }
  return [...found.values()];
}

/** A v2 package's spec, its signature checked, and where its tarball is. @throws BuildcacheError */
export async function readV2Package(
  store: ObjectStore,
  found: V2Package,
  policy: SignaturePolicy,
  signal?: AbortSignal,
): Promise<{ document: SpecDocument; tarballKey: string; checksum: string }> {
  let key = found.specKey;
  let text: string;
  try {
    text = (await readObject(store, key, undefined, signal)).bytes.toString('utf8');
  } catch (error) {
    if (!isNotFound(error) || !key.endsWith('.sig')) throw error;
    key = key.slice(0, -4);
    text = (await readObject(store, key, undefined, signal)).bytes.toString('utf8');
  }
  const where = key.split('/').at(-1)!;
  const json =
    policy.kind === 'trusted'
      ? (await verifySigned(text, policy.trust, where, policy)).text
      : isSigned(text)
        ? signedText(text, where)
        : text;
  const document = parseSpecDocument(json, where);
  const { root } = document;
  if (root.hash !== found.hash) {
    throw new BuildcacheError(
      'input',
      'wrong-package',
      `${where}: ${store.url} has ${describe(root)} in its place.`,
      { mirror: store.url, key, hint: 'Push the package again.' },
    );
  }
  const { binary_cache_checksum: check } = JSON.parse(json) as {
    binary_cache_checksum?: { hash_algorithm?: string; hash?: string };
  };
  if (check?.hash_algorithm !== 'sha256' || !/^[0-9a-f]{64}$/.test(check.hash ?? '')) {
    throw new BuildcacheError('input', 'spec', `${where} holds no sha256 checksum of its tarball.`, { key });
  }
  const { platform, os, target } = root.arch;
  const folder = `${platform}-${os}-${target}/${compilerOf(root)}/${root.name}-${root.version}`;
  return { document, tarballKey: `build_cache/${folder}/${v2Name(root)}.spack`, checksum: check.hash! };
}

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
  to: Mirror,
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
  to: Mirror,
  found: V2Package,
  options: MigrateOptions,
): Promise<{ ref: PackageRef; outcome: 'migrated' | 'present' }> {
  const { signal } = options;
  const { document, tarballKey, checksum } = await readV2Package(from, found, options.policy, signal);
  const { name, version, hash } = document.root;
  const ref = { name, version, hash };
  const info = await from.head(tarballKey, { signal });
  if (!info?.size) {
    throw new BuildcacheError('input', 'missing-blob', `${describe(ref)}: ${from.url} lacks ${tarballKey}.`, {
      package: describe(ref),
      key: tarballKey,
    });
  }
  if (await to.has(ref, signal)) {
    const there = await to.store.head(v3.blob(checksum), { signal });
    if (there?.size === info.size) return { ref, outcome: 'present' };
  }
  await checkTarball(from, tarballKey, checksum, describe(ref), signal);
  const { size } = info;
  if (from.url === to.store.url && !from.readOnly) {
    if (!(await to.store.head(v3.blob(checksum), { signal })))
      await to.store.copy(tarballKey, v3.blob(checksum), { signal });
  } else {
    const open = () =>
      Readable.from(
        (async function* () {
          yield* (await from.get(tarballKey, { signal })).body;
        })(),
        { objectMode: false },
      );
    await putBlob(to, checksum, { size, open }, mediaType.tarball, signal);
  }
  const spec = gzipText(v3SpecText(document));
  await putBlob(to, sha256(spec), spec, mediaType.spec, signal);
  const manifest = formatManifest({
    version: 3,
    data: [
      record(size, mediaType.tarball, 'gzip', checksum),
      record(spec.length, mediaType.spec, 'gzip', sha256(spec)),
    ],
  });
  await preparePush(to, options.signer, signal);
  const text = options.signer ? await options.signer.sign(manifest, signal) : manifest;
  await to.store.put(v3.spec(ref), Buffer.from(text), { contentType: 'application/json', signal });
  return { ref, outcome: 'migrated' };
}

/** A v2 spec as it stands in layout v3: its manifest has the checksum there. */
export function v3SpecText(document: SpecDocument): string {
  const { binary_cache_checksum: _, ...rest } = JSON.parse(document.text) as Record<string, unknown>;
  return JSON.stringify({ ...rest, buildcache_layout_version: 2 });
}

async function checkTarball(
  store: ObjectStore,
  key: string,
  checksum: string,
  what: string,
  signal?: AbortSignal,
): Promise<void> {
  const hash = createHash('sha256');
  for await (const chunk of (await store.get(key, { signal })).body as AsyncIterable<Buffer>)
    hash.update(chunk);
  if (hash.digest('hex') !== checksum) {
    throw new BuildcacheError(
      'input',
      'checksum',
      `${what}: the checksum of ${key} is not the one in its spec.`,
      {
        package: what,
        key,
        hint: 'It was damaged or replaced: push the package again.',
      },
    );
  }
}

/** Armored public keys that a v2 mirror publishes. */
export async function v2Keys(store: ObjectStore, signal?: AbortSignal): Promise<string[]> {
  let fingerprints: string[];
  try {
    const { bytes } = await readObject(store, 'build_cache/_pgp/index.json', undefined, signal);
    fingerprints = parseKeyIndex(bytes.toString('utf8'), `${store.url}/build_cache/_pgp/index.json`);
  } catch (error) {
    if (isNotFound(error)) return [];
    throw error;
  }
  const keys: string[] = [];
  for (const fingerprint of fingerprints.filter((one) => /^[0-9A-Fa-f]{16,40}$/.test(one))) {
    const { bytes } = await readObject(store, `build_cache/_pgp/${fingerprint}.pub`, undefined, signal);
    keys.push(bytes.toString('utf8'));
  }
  return keys;
}

function v2Name(node: ConcreteNode): string {
  const { platform, os, target } = node.arch;
  return `${platform}-${os}-${target}-${compilerOf(node)}-${node.name}-${node.version}-${node.hash}`;
}

function compilerOf(node: ConcreteNode): string {
  return node.compiler ? `${node.compiler.name}-${node.compiler.version}` : 'none-none';
}
