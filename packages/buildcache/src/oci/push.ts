import { Readable } from 'node:stream';
import { LayerScan } from '../layer-facts.js';
import type { PackageSource, PackedLayer, PushAllOptions, Pushed, PushResult } from '../mirror-writer.js';
import { buffered } from '../pack/buffered.js';
import { describe, type PackageRef } from '../package-ref.js';
import { parseSpecDocument } from '../spec-document.js';
import { statementOf } from '../statement.js';
import { formatManifest, packageManifest } from '../v3/manifest.js';
import { specBlob } from '../v3/spec-blob.js';
import { publish, type Upload } from './publish.js';
import type { OciReader } from './reader.js';

/** Packs installed packages and puts them into a registry. Goes on after a failure and reports it. */
export async function pushToRegistry(
  mirror: OciReader,
  sources: readonly PackageSource[],
  options: PushAllOptions = {},
): Promise<PushResult> {
  const tarballs = new Map<string, PackedLayer>();
  const result = (ref: PackageRef, outcome: 'pushed' | 'present'): Pushed => ({
    ...ref,
    outcome,
    tarball: tarballs.get(ref.hash),
  });
  const { signer, time, signal } = options;
  const uploads = sources.map((source): Upload => {
    const { name, version, hash } = source;
    const what = describe(source);
    let manifest: string | undefined;
    return {
      name,
      version,
      hash,
      document: async () => parseSpecDocument(source.specText, describe(source)),
      signs: signer !== undefined,
      signer,
      signed: async () => {
        // What is there already was signed before by the same key.
        if (!signer || manifest === undefined) return undefined;
        const { bytes: specBytes } = specBlob(source.specText, what);
        return { text: await signer.sign(manifest, signal), specBytes };
      },
      put: () => {
        const scan = new LayerScan();
        return buffered(scan.watch(source.items()), options, async (packed, content) => {
          const { descriptor, diffId } = packed;
          const facts = scan.result(what);
          const spec = specBlob(source.specText, what).descriptor;
          const statement = statementOf(source, { ...facts, diffId, size: packed.tarSize }, time);
          manifest = formatManifest(packageManifest(descriptor, spec, statement));
          const open = () => (content instanceof Uint8Array ? Readable.from([content]) : content.open());
          await mirror.repository.putBlob(descriptor, open, { signal: options.signal });
          tarballs.set(source.hash, packed);
          const { prefix, folders } = facts;
          return { descriptor, diffId, inspected: { prefix, folders } };
        });
      },
    };
  });
  const { outcomes, failed, combinedLayers } = await publish(mirror, uploads, {
    ...options,
    onDone: (ref, outcome) =>
      options.onProgress?.({
        package: ref,
        outcome: outcome instanceof Error ? outcome : result(ref, outcome),
      }),
  });
  const pushed = uploads.flatMap(({ name, version, hash }) => {
    const outcome = outcomes.get(hash);
    return outcome ? [result({ name, version, hash }, outcome)] : [];
  });
  return { pushed, failed, combinedLayers };
}
