import { keyOf } from './layer.js';
import { purlOf, type SbomImage, type SbomPackage } from './sbom.js';

/**
 * The bill of materials as a CycloneDX 1.5 document. The same input gives the same bytes.
 * @param name the image's name; @param created RFC 3339
 */
export function cyclonedx(
  name: string,
  packages: readonly SbomPackage[],
  created: string,
  image: SbomImage,
): object {
  const held = new Set(packages.map(({ node }) => node.hash));
  const { digest, base } = image;
  const seed = keyOf(name, digest, ...packages.map((one) => one.digest));
  return {
    bomFormat: 'CycloneDX',
    specVersion: '1.5',
    serialNumber: `urn:uuid:${uuidOf(seed)}`,
    version: 1,
    metadata: {
      timestamp: created,
      tools: { components: [{ type: 'application', name: 'stackwright' }] },
      component: { type: 'container', 'bom-ref': digest, name, version: digest, hashes: hashesOf(digest) },
    },
    components: [
      ...(base
        ? [{ type: 'container', 'bom-ref': base.digest, name: base.name, hashes: hashesOf(base.digest) }]
        : []),
      ...packages.map(({ node, digest: blob, licence }) => ({
        type: 'library',
        'bom-ref': node.hash,
        name: node.name,
        version: node.version,
        purl: purlOf(node),
        hashes: hashesOf(blob),
        licenses: licence === undefined ? undefined : [{ expression: licence }],
      })),
    ],
    dependencies: [
      { ref: digest, dependsOn: [...(base ? [base.digest] : []), ...held] },
      ...packages.map(({ node }) => ({
        ref: node.hash,
        dependsOn: [...new Set(node.dependencies.map(({ hash }) => hash))].filter((hash) => held.has(hash)),
      })),
    ],
  };
}

function hashesOf(digest: string): object[] {
  return [{ alg: 'SHA-256', content: digest.replace('sha256:', '') }];
}

/** A UUID of version 8 (RFC 9562): of a hash, not of chance. */
function uuidOf(hex: string): string {
  const variant = ((Number.parseInt(hex[16] ?? '0', 16) & 0x3) | 0x8).toString(16);
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    `8${hex.slice(13, 16)}`,
    `${variant}${hex.slice(17, 20)}`,
    hex.slice(20, 32),
  ].join('-');
}
