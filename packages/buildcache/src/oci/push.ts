import { Readable } from 'node:stream';
import { mediaTypes } from '@stackwright/oci';
import { LayerScan } from '../layer-facts.js';
import type { PackedTarball, TarItem } from '../pack/pack.js';
import { describe, type PackageRef } from '../package-ref.js';
import { parseSpecDocument } from '../spec-document.js';
import { buffered, type PackageSource, type Pushed, type PushOptions } from '../v3/push.js';
import { type PublishOptions, publish, type Upload } from './publish.js';
import type { OciMirror } from './reader.js';

export interface OciPushOptions
  extends Omit<PushOptions, 'signer'>,
    Pick<PublishOptions, 'base' | 'combined' | 'parallel'> {
  readonly onProgress?: (event: { readonly package: PackageRef; readonly outcome: Pushed | Error }) => void;
}

/** Packs installed packages and puts them into a registry. Goes on after a failure and reports it. */
export async function pushToRegistry(
  mirror: OciMirror,
  sources: readonly PackageSource[],
  options: OciPushOptions = {},
): Promise<{
  pushed: Pushed[];
  failed: { package: PackageRef; error: Error }[];
  combinedLayers?: number;
}> {
  const tarballs = new Map<string, PackedTarball>();
  const result = (ref: PackageRef, outcome: 'pushed' | 'present'): Pushed => ({
    ...ref,
    outcome,
    tarball: tarballs.get(ref.hash),
  });
  const uploads = sources.map((source): Upload => {
    const { name, version, hash } = source;
    return {
      name,
      version,
      hash,
      document: async () => parseSpecDocument(source.specText, describe(source)),
      put: () => {
        const scan = new LayerScan();
        return buffered(scanned(source.items(), scan), options, async (packed, content) => {
          const descriptor = {
            mediaType: mediaTypes.layerGzip,
            digest: `sha256:${packed.checksum}` as const,
            size: packed.size,
          };
          const open = () => (content instanceof Uint8Array ? Readable.from([content]) : content.open());
          await mirror.repository.putBlob(descriptor, open, { signal: options.signal });
          tarballs.set(source.hash, packed);
          const inspected = scan.result(describe(source));
          return { descriptor, diffId: `sha256:${packed.diffId}` as const, inspected };
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
  return { pushed, failed: [...failed], combinedLayers };
}

async function* scanned(items: AsyncIterable<TarItem>, scan: LayerScan): AsyncGenerator<TarItem> {
  for await (const item of items) {
    scan.see(item.entry);
    yield item;
  }
}
