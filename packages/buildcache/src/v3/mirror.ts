import { planPrune, prune } from '../care/prune.js';
import { updateIndex } from '../index/reindex.js';
import type { MirrorReader, SignaturePolicy } from '../mirror.js';
import type {
  CopyOptions,
  CopyResult,
  IndexOptions,
  IndexResult,
  Mirror,
  PackageSource,
  PruneOptions,
  PrunePlan,
  PushAllOptions,
  Pushed,
  PushOptions,
  PushResult,
  SignOptions,
  SignResult,
} from '../mirror-writer.js';
import type { PackageRef } from '../package-ref.js';
import type { Signer } from '../sign/signature.js';
import { unsupported } from '../unsupported.js';
import { copyPackages, signPackages } from './copy.js';
import { publishKey, pushPackage, pushPackages, updateKeyIndex } from './push.js';
import { V3Reader } from './reader.js';

/** A mirror of layout v3 in some store. */
export class V3Mirror extends V3Reader implements Mirror {
  get writable(): boolean {
    return !this.store.readOnly;
  }

  override withPolicy(policy: SignaturePolicy): V3Mirror {
    return new V3Mirror(this.store, policy, this.view);
  }

  override withView(view: string | undefined): V3Mirror {
    return new V3Mirror(this.store, this.policy, view);
  }

  push(source: PackageSource, options?: PushOptions): Promise<Pushed> {
    return pushPackage(this, source, options);
  }

  async pushAll(sources: readonly PackageSource[], options?: PushAllOptions): Promise<PushResult> {
    if (options?.base || options?.combined)
      throw unsupported(
        this.url,
        'holds packages, not images',
        'A base image and a tag need a mirror in a registry: oci://…',
      );
    return pushPackages(this, sources, options);
  }

  copyFrom(from: MirrorReader, refs: readonly PackageRef[], options?: CopyOptions): Promise<CopyResult> {
    return copyPackages(from, this, refs, options);
  }

  sign(refs: readonly PackageRef[], signer: Signer, options?: SignOptions): Promise<SignResult> {
    return signPackages(this, refs, signer, options);
  }

  publishKey(armored: string, signal?: AbortSignal): Promise<string[]> {
    return publishKey(this, armored, signal);
  }

  updateKeyIndex(signal?: AbortSignal): Promise<string[]> {
    return updateKeyIndex(this, signal);
  }

  updateIndex(options?: IndexOptions): Promise<IndexResult> {
    return updateIndex(this, options);
  }

  async removeView(name: string, signal?: AbortSignal): Promise<void> {
    await this.store.delete([this.withView(name).indexKey], { signal });
  }

  planPrune(options?: PruneOptions): Promise<PrunePlan> {
    return planPrune(this, options);
  }

  async prune(plan: PrunePlan, options?: PruneOptions): Promise<void> {
    await prune(this, plan, options);
  }
}
