import type { ConcreteNode } from '@stackwright/spack-env';
import { keyOf } from './layer.js';

/** A package of the image with the blob that it came from. */
export interface SbomPackage {
  readonly node: ConcreteNode;
  /** Of the tarball. */
  readonly digest: string;
  /** The digest of the spec that its manifest names. */
  readonly spec?: string;
  /** The fingerprint of the trusted key that signed the manifest. */
  readonly signedBy?: string;
  /** SPDX expression, as the recipe states it. */
  readonly licence?: string;
}

/** What a bill of materials says of the image itself. */
export interface SbomImage {
  /** Of the manifest. */
  readonly digest: string;
  readonly base?: { readonly name: string; readonly digest: string };
}

/**
 * A bill of materials as an SPDX 2.3 JSON document: every package with its version, recipe namespace, dag hash and
 * blob digest, and which depends on which. The same input gives the same bytes.
 * @param name the image's name; @param created RFC 3339
 * @param image digests of the image and of its base, which are described as packages, too
 */
export function spdx(
  name: string,
  packages: readonly SbomPackage[],
  created: string,
  image?: SbomImage,
): string {
  const id = (node: { name: string; hash: string }) =>
    `SPDXRef-Package-${node.name.replace(/[^A-Za-z0-9.-]/g, '-')}-${node.hash}`;
  const images = image ? imagePackages(name, image) : [];
  const held = new Set(packages.map(({ node }) => node.hash));
  const document = {
    spdxVersion: 'SPDX-2.3',
    dataLicense: 'CC0-1.0',
    SPDXID: 'SPDXRef-DOCUMENT',
    name,
    documentNamespace: `https://spdx.org/spdxdocs/${encodeURIComponent(name)}-${keyOf(...packages.map(({ digest }) => digest), ...(image ? [image.digest] : []))}`,
    creationInfo: { created, creators: ['Tool: stackwright'] },
    packages: [
      ...images.map(([, one]) => one),
      ...packages.map(({ node, digest, licence }) => ({
        SPDXID: id(node),
        name: node.name,
        versionInfo: node.version,
        downloadLocation: 'NOASSERTION',
        filesAnalyzed: false,
        licenseConcluded: 'NOASSERTION',
        licenseDeclared: licence ?? 'NOASSERTION',
        copyrightText: 'NOASSERTION',
        checksums: [{ algorithm: 'SHA256', checksumValue: digest.replace('sha256:', '') }],
        externalRefs: [
          {
            referenceCategory: 'PACKAGE-MANAGER',
            referenceType: 'purl',
            referenceLocator: purlOf(node),
          },
        ],
      })),
    ],
    relationships: [
      ...images.map(([relationship]) => relationship),
      ...packages.flatMap(({ node }) => [
        { spdxElementId: 'SPDXRef-DOCUMENT', relationshipType: 'DESCRIBES', relatedSpdxElement: id(node) },
        ...(image
          ? [{ spdxElementId: imageId, relationshipType: 'CONTAINS', relatedSpdxElement: id(node) }]
          : []),
        ...node.dependencies
          .filter((edge) => held.has(edge.hash))
          .map((edge) => ({
            spdxElementId: id(node),
            relationshipType: 'DEPENDS_ON',
            relatedSpdxElement: id(edge),
          })),
      ]),
    ],
  };
  return `${JSON.stringify(document, null, 2)}\n`;
}

/** The package URL of a package of Spack; there is no type for Spack's. */
export function purlOf({ name, version, hash, namespace }: ConcreteNode): string {
  const recipes = namespace ? `&spack_namespace=${encodeURIComponent(namespace)}` : '';
  return `pkg:generic/${encodeURIComponent(name)}@${encodeURIComponent(version)}?spack_hash=${hash}${recipes}`;
}

const imageId = 'SPDXRef-Image';
const baseId = 'SPDXRef-Base';

/** The image and its base as packages, each with the relationship that ties it in. */
function imagePackages(name: string, { digest, base }: SbomImage): [object, object][] {
  const described = (SPDXID: string, title: string, of: string) => ({
    SPDXID,
    name: title,
    versionInfo: of,
    downloadLocation: 'NOASSERTION',
    filesAnalyzed: false,
    primaryPackagePurpose: 'CONTAINER',
    licenseConcluded: 'NOASSERTION',
    licenseDeclared: 'NOASSERTION',
    copyrightText: 'NOASSERTION',
    checksums: [{ algorithm: 'SHA256', checksumValue: of.replace('sha256:', '') }],
  });
  const relation = (spdxElementId: string, relationshipType: string, relatedSpdxElement: string) => ({
    spdxElementId,
    relationshipType,
    relatedSpdxElement,
  });
  return [
    [relation('SPDXRef-DOCUMENT', 'DESCRIBES', imageId), described(imageId, name, digest)],
    ...(base
      ? [
          [relation(imageId, 'DESCENDANT_OF', baseId), described(baseId, base.name, base.digest)] as [
            object,
            object,
          ],
        ]
      : []),
  ];
}
