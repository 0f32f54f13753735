export { goArchitecture } from './architecture.js';
export { type CopyOptions, type CopyOutcome, copyKeys, copyPackages, signPackages } from './care/copy.js';
export { type PruneOptions, type PrunePlan, planPrune, prune } from './care/prune.js';
export {
  type MirrorFinding,
  presentPackages,
  type VerifyMirrorOptions,
  verifyMirror,
} from './care/verify.js';
export { BuildcacheError, type BuildcacheErrorCode, hasCode, isUnvouched } from './error.js';
export { type IndexOptions, type IndexResult, updateIndex } from './index/reindex.js';
export { type LayerFacts, readLayerFacts } from './layer-facts.js';
export type { MirrorPackage, PackageMirror } from './mirror.js';
export { copyToRegistry } from './oci/copy.js';
export type { BaseImage } from './oci/image.js';
export type { OciPackage } from './oci/package.js';
export { planOciPrune, pruneOci } from './oci/prune.js';
export { type OciPushOptions, pushToRegistry } from './oci/push.js';
export { isOciUrl, OciMirror } from './oci/reader.js';
export { updateOciIndex } from './oci/reindex.js';
export { tagOf } from './oci/tag.js';
export {
  type AnyMirror,
  copyAny,
  openAnyMirror,
  openToRead,
  planAnyPrune,
  pruneAny,
  pushAny,
  updateAnyIndex,
} from './open.js';
export { type BuildInfo, formatBuildInfo, parseBuildInfo } from './pack/buildinfo.js';
export {
  type InstalledPackage,
  type InstallTree,
  packInfoOf,
  readInstalled,
  readInstallTree,
  relocatedNodes,
  unpadded,
} from './pack/install-tree.js';
export {
  type PackedTarball,
  type PackInfo,
  packedBytes,
  packPrefix,
  type TarItem,
  tarBytes,
} from './pack/pack.js';
export type { TarEntry } from './pack/tar.js';
export { describe, isHash, mediaType, type PackageRef, packageOfKey, v3 } from './package-ref.js';
export { type InspectedPrefix, searchPaths } from './search-path.js';
export { GpgSigner } from './sign/gpg.js';
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
} from './sign/key.js';
export { readKeyFiles } from './sign/key-file.js';
export { KeySigner, type Signer, Trust, verifySigned } from './sign/signature.js';
export { parseSpecDocument, type SpecDocument } from './spec-document.js';
export { type PullOptions, pullPackage } from './unpack/pull.js';
export { type NewPlaces, Relocation, relocationOf, withSbang } from './unpack/relocate.js';
export {
  extractEntries,
  readBuildInfo,
  relocatedEntries,
  tarEntries,
  type UnpackOptions,
} from './unpack/unpack.js';
export { type MigrateOptions, migrateV2, readV2Package, type V2Package, v2Packages } from './v2/package.js';
export type { BlobRecord, Manifest } from './v3/manifest.js';
export { formatManifest, parseManifest } from './v3/manifest.js';
export {
  installedPackage,
  type PackageSource,
  type Pushed,
  type PushOptions,
  publishKey,
  pushPackage,
  pushPackages,
  updateKeyIndex,
} from './v3/push.js';
export {
  folderOf,
  Mirror,
  type MirrorIndex,
  type OpenMirrorOptions,
  openMirror,
  type PackageManifest,
  type SignaturePolicy,
  trustOf,
} from './v3/reader.js';
