export {
  type AnyMirror,
  copyAny,
  openAnyMirror,
  openToRead,
  planAnyPrune,
  pruneAny,
  pushAny,
  updateAnyIndex,
} from './any-mirror.js';
export { goArchitecture } from './architecture.js';
export { type BuildInfo, formatBuildInfo, parseBuildInfo } from './buildinfo.js';
export { type CopyOptions, type CopyOutcome, copyKeys, copyPackages, signPackages } from './copy.js';
export { BuildcacheError, type BuildcacheErrorCode, hasCode, isUnvouched } from './error.js';
export { GpgSigner } from './gpg.js';
export {
  type InstalledPackage,
  type InstallTree,
  packInfoOf,
  readInstalled,
  readInstallTree,
  relocatedNodes,
  unpadded,
} from './install-tree.js';
export {
  createKey,
  describeKey,
  fingerprintOf,
  formatPublicKey,
  formatSigningKey,
  type KeyInfo,
  type NewKey,
  readPublicKeys,
  readSecretKey,
} from './key.js';
export { readKeyFiles } from './key-file.js';
export { type LayerFacts, readLayerFacts } from './layer-facts.js';
export { describe, isHash, mediaType, type PackageRef, packageOfKey, v3 } from './layout.js';
export type { BlobRecord, Manifest } from './manifest.js';
export { formatManifest, parseManifest } from './manifest.js';
export {
  folderOf,
  Mirror,
  type MirrorIndex,
  type OpenMirrorOptions,
  openMirror,
  type PackageManifest,
  type SignaturePolicy,
  trustOf,
} from './mirror.js';
export { copyToRegistry } from './oci/copy.js';
export type { BaseImage } from './oci/image.js';
export { isOciUrl, OciMirror } from './oci/mirror.js';
export type { OciPackage } from './oci/package.js';
export { planOciPrune, pruneOci } from './oci/prune.js';
export { type OciPushOptions, pushToRegistry } from './oci/push.js';
export { updateOciIndex } from './oci/reindex.js';
export { tagOf } from './oci/tag.js';
export {
  type PackedTarball,
  type PackInfo,
  packedBytes,
  packPrefix,
  type TarItem,
  tarBytes,
} from './pack.js';
export type { MirrorPackage, PackageMirror } from './package-mirror.js';
export { type PruneOptions, type PrunePlan, planPrune, prune } from './prune.js';
export { type PullOptions, pullPackage } from './pull.js';
export {
  installedPackage,
  type PackageSource,
  type Pushed,
  type PushOptions,
  publishKey,
  pushPackage,
  pushPackages,
  updateKeyIndex,
} from './push.js';
export { type IndexOptions, type IndexResult, updateIndex } from './reindex.js';
export { type NewPlaces, Relocation, relocationOf, withSbang } from './relocate.js';
export { type InspectedPrefix, searchPaths } from './search-path.js';
export { KeySigner, type Signer, Trust, verifySigned } from './signature.js';
export { parseSpecDocument, type SpecDocument } from './spec-document.js';
export type { TarEntry } from './tar.js';
export { extractEntries, readBuildInfo, relocatedEntries, tarEntries, type UnpackOptions } from './unpack.js';
export { type MigrateOptions, migrateV2, readV2Package, type V2Package, v2Packages } from './v2.js';
export { type MirrorFinding, presentPackages, type VerifyMirrorOptions, verifyMirror } from './verify.js';
