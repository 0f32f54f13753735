import type { Digest } from '@stackwright/oci';
import type { ConcreteNode } from '@stackwright/spack-env';
import { isNotFound, type ObjectStore, readObject } from '@stackwright/storage';
import { BuildcacheError } from '../error.js';
import { databaseEntries, parseEntry } from '../index/database.js';
import type { SignaturePolicy } from '../mirror.js';
import { describe, type PackageRef } from '../package-ref.js';
import { parseKeyIndex } from '../sign/key.js';
import { isSigned, signedText, verifySigned } from '../sign/signature.js';
import { parseSpecDocument, type SpecDocument } from '../spec-document.js';

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
): Promise<{ document: SpecDocument; tarballKey: string; digest: Digest }> {
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
    throw new BuildcacheError('wrong-package', `${where}: ${store.url} has ${describe(root)} in its place.`, {
      mirror: store.url,
      key,
      hint: 'Push the package again.',
    });
  }
  const { binary_cache_checksum: check } = JSON.parse(json) as {
    binary_cache_checksum?: { hash_algorithm?: string; hash?: string };
  };
  if (check?.hash_algorithm !== 'sha256' || !/^[0-9a-f]{64}$/.test(check.hash ?? '')) {
    throw new BuildcacheError('spec', `${where} holds no sha256 checksum of its tarball.`, { key });
  }
  const { platform, os, target } = root.arch;
  const folder = `${platform}-${os}-${target}/${compilerOf(root)}/${root.name}-${root.version}`;
  return {
    document,
    tarballKey: `build_cache/${folder}/${v2Name(root)}.spack`,
    digest: `sha256:${check.hash}`,
  };
}

/** A v2 spec as it stands in layout v3: its manifest has the checksum there. */
export function v3SpecText(document: SpecDocument): string {
  const { binary_cache_checksum: _, ...rest } = JSON.parse(document.text) as Record<string, unknown>;
  return JSON.stringify({ ...rest, buildcache_layout_version: 2 });
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
