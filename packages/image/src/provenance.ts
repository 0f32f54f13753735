import type { SbomImage, SbomPackage } from './sbom.js';

/** Who made an image, from what. Nothing in it may be secret: it is published. */
export interface Origin {
  /** The stack's name. */
  readonly stack: string;
  readonly kind: 'software' | 'mirror';
  /** SHA-256 of `spack.lock`, hexadecimal. */
  readonly lock: string;
  /** Where the stack comes from: the repository's address, and the commit. */
  readonly source?: { readonly uri?: string; readonly commit?: string };
  /** The Spack that the stack was concretized with. */
  readonly spack?: { readonly version: string; readonly commit?: string };
  readonly builder: {
    /** A URI. */
    readonly id: string;
    /** Of Stackwright. */
    readonly version: string;
    /** The job's address. */
    readonly job?: string;
  };
}

/**
 * The predicate of SLSA provenance 1.0 for an image: stack, lock, commit, base, and each package with its tarball, its spec
 * and who signed its manifest.
 */
export function provenance(
  origin: Origin,
  packages: readonly SbomPackage[],
  { base }: Pick<SbomImage, 'base'>,
): object {
  const { stack, kind, lock, source, spack, builder } = origin;
  return {
    buildDefinition: {
      buildType: 'urn:stackwright:image:v1',
      externalParameters: { stack, kind, source: source?.uri },
      internalParameters: { spack },
      resolvedDependencies: [
        { name: 'spack.lock', digest: { sha256: lock } },
        ...(source?.commit ? [{ name: 'stack', uri: source.uri, digest: { gitCommit: source.commit } }] : []),
        ...(base ? [{ name: 'base', uri: base.name, digest: sha256Of(base.digest) }] : []),
        ...packages.map(({ node, digest, spec, signedBy }) => ({
          name: `${node.name}@${node.version}/${node.hash}`,
          digest: sha256Of(digest),
          annotations: { spec: spec, signedBy },
        })),
      ],
    },
    runDetails: {
      builder: { id: builder.id, version: { stackwright: builder.version } },
      metadata: { invocationId: builder.job },
    },
  };
}

function sha256Of(digest: string): { sha256: string } {
  return { sha256: digest.replace('sha256:', '') };
}
