import type { ConcreteNode } from '@stackwright/spack-env';
import { keyOf } from './layer.js';

/** A package of the image with the blob that it came from. */
export interface SbomPackage {
  readonly node: ConcreteNode;
  readonly digest: string;
}

/**
 * A bill of materials as an SPDX 2.3 JSON document: every package with its version, recipe namespace, dag hash and
 * blob digest, and which depends on which. The same input gives the same bytes.
 * @param name the image's name; @param created RFC 3339
 */
export function spdx(name: string, packages: readonly SbomPackage[], created: string): string {
  const id = (node: { name: string; hash: string }) =>
    `SPDXRef-Package-${node.name.replace(/[^A-Za-z0-9.-]/g, '-')}-${node.hash}`;
  const held = new Set(packages.map(({ node }) => node.hash));
  const document = {
    spdxVersion: 'SPDX-2.3',
    dataLicense: 'CC0-1.0',
    SPDXID: 'SPDXRef-DOCUMENT',
    name,
    documentNamespace: `https://spdx.org/spdxdocs/${encodeURIComponent(name)}-${keyOf(...packages.map(({ digest }) => digest))}`,
    creationInfo: { created, creators: ['Tool: stackwright'] },
    packages: packages.map(({ node, digest }) => ({
      SPDXID: id(node),
      name: node.name,
      versionInfo: node.version,
      downloadLocation: 'NOASSERTION',
      filesAnalyzed: false,
      licenseConcluded: 'NOASSERTION',
      licenseDeclared: 'NOASSERTION',
      copyrightText: 'NOASSERTION',
      checksums: [{ algorithm: 'SHA256', checksumValue: digest.replace('sha256:', '') }],
      externalRefs: [
        {
          referenceCategory: 'PACKAGE-MANAGER',
          referenceType: 'purl',
          referenceLocator: `pkg:generic/${encodeURIComponent(node.name)}@${encodeURIComponent(node.version)}?spack_hash=${node.hash}${node.namespace ? `&spack_namespace=${encodeURIComponent(node.namespace)}` : ''}`,
        },
      ],
    })),
    relationships: packages.flatMap(({ node }) => [
      { spdxElementId: 'SPDXRef-DOCUMENT', relationshipType: 'DESCRIBES', relatedSpdxElement: id(node) },
      ...node.dependencies
        .filter((edge) => held.has(edge.hash))
        .map((edge) => ({
          spdxElementId: id(node),
          relationshipType: 'DEPENDS_ON',
          relatedSpdxElement: id(edge),
        })),
    ]),
  };
  return `${JSON.stringify(document, null, 2)}\n`;
}
