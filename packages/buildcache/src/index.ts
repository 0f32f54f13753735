export { goArchitecture } from './architecture.js';
export { copyKeys } from './care/copy-keys.js';
export { copyViews } from './care/copy-views.js';
export type { MirrorFinding, VerifyMirrorOptions } from './care/verify.js';
export { presentPackages, verifyMirror } from './care/verify.js';
export type { BuildcacheErrorCode } from './error.js';
export { BuildcacheError, hasCode, isUnvouched } from './error.js';
export type { ParsedEntry } from './index/database.js';
export type { FreshnessOptions, IndexMemory } from './index/freshness.js';
export { checkFreshness } from './index/freshness.js';
export type { IndexStatement, SignedIndex } from './index/index-statement.js';
export type { LayerFacts, PackageContents, ScannedLayer } from './layer-facts.js';
export { LayerScan, readCheckedFacts, readLayerFacts, viewFolders } from './layer-facts.js';
export type { MirrorIndex, MirrorPackage, MirrorReader, PackageManifest, SignaturePolicy } from './mirror.js';
export type {
  CopyOptions,
  CopyOutcome,
  CopyResult,
  IndexOptions,
  IndexResult,
  ManifestNames,
  Mirror,
  MirrorWriter,
  PackageFailure,
  PackageSource,
  PackedLayer,
  PruneOptions,
  PrunePlan,
  PushAllOptions,
  Pushed,
  PushOptions,
  PushResult,
  SignOptions,
  SignResult,
  ViewUpdate,
} from './mirror-writer.js';
export { OciMirror } from './oci/mirror.js';
export { tagOf } from './oci/tag.js';
export type { OpenMirrorOptions } from './open.js';
export { openMirror, openToRead, openV3Mirror } from './open.js';
export type { BuildInfo } from './pack/buildinfo.js';
export { formatBuildInfo, parseBuildInfo } from './pack/buildinfo.js';
export type { InstalledPackage, InstallTree } from './pack/install-tree.js';
export {
  installedPackage,
  packInfoOf,
  readInstalled,
  readInstallTree,
  relocatedNodes,
  unpadded,
} from './pack/install-tree.js';
export type { PackInfo } from './pack/pack.js';
export { packedBytes, packPrefix } from './pack/pack.js';
export type { TarEntry, TarItem } from './pack/tar.js';
export { tarBytes } from './pack/tar.js';
export type { PackageRef } from './package-ref.js';
export { describe, isHash, isSamePackage } from './package-ref.js';
export type { InspectedPrefix } from './search-path.js';
export { inspectedFolders, searchFolders, searchPaths } from './search-path.js';
export { GpgSigner } from './sign/gpg.js';
export type { KeyInfo, NewKey } from './sign/key.js';
export {
  createKey,
  describeKey,
  fingerprintOf,
  formatPublicKey,
  formatSigningKey,
  readPublicKeys,
  readSecretKey,
} from './sign/key.js';
export { readKeyFiles } from './sign/key-file.js';
export type { PlainSigner } from './sign/plain.js';
export { pemOf, plainlySignedBy, plainSigner } from './sign/plain.js';
export type { Signer, VerifyOptions } from './sign/signature.js';
export { KeySigner, Trust, verifySigned } from './sign/signature.js';
export { trustOf } from './sign/trust.js';
export type { SpecDocument } from './spec-document.js';
export { parseSpecDocument } from './spec-document.js';
export type { StatedTarball, Statement } from './statement.js';
export { checkStatedTarball, statedPrefixes } from './statement.js';
export type { PackageLibraries } from './unpack/elf-scan.js';
export { ElfScan } from './unpack/elf-scan.js';
export type { PullOptions } from './unpack/pull.js';
export { pullPackage } from './unpack/pull.js';
export type { NewPlaces } from './unpack/relocate.js';
export { Relocation, relocationOf, withSbang } from './unpack/relocate.js';
export { ScriptScan } from './unpack/script-scan.js';
export type { UnpackOptions } from './unpack/unpack.js';
export { extractEntries, readBuildInfo, relocatedEntries, tarEntries } from './unpack/unpack.js';
export type { MigrateOptions } from './v2/migrate.js';
export { migrateV2 } from './v2/migrate.js';
export type { V2Package } from './v2/package.js';
export { readV2Package, v2Packages } from './v2/package.js';
export { mediaType, packageOfKey, v3 } from './v3/layout.js';
export type { BlobRecord, Manifest } from './v3/manifest.js';
export { formatManifest, parseManifest } from './v3/manifest.js';
export { V3Mirror } from './v3/mirror.js';
