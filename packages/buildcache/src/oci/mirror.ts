import { type Credentials, parseReference, RegistryRepository } from '@stackwright/oci';
import { BuildcacheError } from '../error.js';
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
import { copyToRegistry } from './copy.js';
import { planOciPrune, pruneOci } from './prune.js';
import { pushToRegistry } from './push.js';
import { OciReader } from './reader.js';
import { updateOciIndex } from './reindex.js';
import { signInRegistry } from './sign.js';

/** A build cache in an OCI registry. Signed manifests of packages are referrers of their images. */
export class OciMirror extends OciReader implements Mirror {
  readonly writable = true;

  /** @throws BuildcacheError `unsupported` for an address of another kind */
  static open(
    url: string,
    options: {
      /** Asked once, for the host that the address names. */
      readonly credentials?: (registry: string) => Promise<Credentials | undefined>;
      readonly policy?: SignaturePolicy;
    } = {},
  ): OciMirror {
    const match = /^oci(\+http)?:\/\/(.+?)\/*$/.exec(url);
    const refuse = (why: string): never => {
      throw new BuildcacheError('unsupported', `${url} ${why}.`, {
        mirror: url,
        hint: 'Write oci://REGISTRY/REPOSITORY, or oci+http:// for a registry without TLS.',
      });
    };
    if (!match) return refuse('is no address of a build cache in a registry');
    // As Spack does: the name is written in lower case, whatever the address says.
    const [, plain, name = ''] = match;
    const slash = name.indexOf('/');
    const { registry, repository, tag, digest } = parseReference(
      slash < 0 ? name : name.slice(0, slash) + name.slice(slash).toLowerCase(),
    );
    if (tag || digest) return refuse('names an image; a build cache is a whole repository');
    const target = new RegistryRepository(registry, repository, {
      http: plain !== undefined,
      credentials: async () => options.credentials?.(registry),
    });
    return new OciMirror(target, `oci${plain ?? ''}://${target.name}`, options.policy);
  }

  override withPolicy(policy: SignaturePolicy): OciMirror {
    return new OciMirror(this.repository, this.url, policy);
  }

  override withView(view: string | undefined): OciMirror {
    super.withView(view);
    return this;
  }

  async push(source: PackageSource, options?: PushOptions): Promise<Pushed> {
    const { pushed, failed } = await this.pushAll([source], options);
    const [done] = pushed;
    if (done) return done;
    throw failed[0]?.error;
  }

  pushAll(sources: readonly PackageSource[], options?: PushAllOptions): Promise<PushResult> {
    return pushToRegistry(this, sources, options);
  }

  copyFrom(from: MirrorReader, refs: readonly PackageRef[], options?: CopyOptions): Promise<CopyResult> {
    return copyToRegistry(from, this, refs, options);
  }

  sign(refs: readonly PackageRef[], signer: Signer, options?: SignOptions): Promise<SignResult> {
    return signInRegistry(this, refs, signer, options);
  }

  async publishKey(): Promise<never> {
    throw this.#keyless();
  }

  async updateKeyIndex(): Promise<never> {
    throw this.#keyless();
  }

  async updateIndex(options?: IndexOptions): Promise<IndexResult> {
    this.withView(options?.view?.name);
    return updateOciIndex(this, options);
  }

  async removeView(name: string): Promise<void> {
    this.withView(name);
  }

  async planPrune({ keep, olderThan, signal }: PruneOptions = {}): Promise<PrunePlan> {
    const hint = 'Say which packages are to be kept, and nothing else.';
    if (olderThan !== undefined)
      throw unsupported(this.url, 'is in a registry, which does not tell how old a package is', hint);
    if (!keep) throw unsupported(this.url, 'is in a registry, which collects orphans by itself', hint);
    return planOciPrune(this, keep, signal);
  }

  prune(plan: PrunePlan, options?: PruneOptions): Promise<void> {
    return pruneOci(this, plan, options?.signal);
  }

  #keyless(): BuildcacheError {
    return unsupported(this.url, 'is in a registry, which publishes no keys', 'Publish the keys elsewhere.');
  }
}
