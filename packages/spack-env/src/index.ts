export type { Environment, LoadOptions, RootSpec, SpecGroup, View } from './config/environment.js';
export { editManifest, loadEnvironment, readEnvironment, upgradeManifest } from './config/environment.js';
export type { HostArchitecture } from './config/host.js';
export { hostArchitecture } from './config/host.js';
export type { Mirror, MirrorConnection } from './config/mirror.js';
export { isRegistryUrl } from './config/mirror.js';
export { nearest } from './config/nearest.js';
export type { ConfigEntry, ConfigNode, ListNode, MapNode, MergeMode, ScalarNode } from './config/node.js';
export { nodeAt, plainValue, textOf } from './config/node.js';
export type { FileReader, GitSource, RemoteFetcher, UrlSource } from './config/reader.js';
export type { Scope } from './config/scope.js';
export type { FailureSettings, ImageFile, ImageUser, StackSettings } from './config/stack-settings.js';
export { readStackSettings } from './config/stack-settings.js';
export type { VariableFacts } from './config/variables.js';
export { resolvePath } from './config/variables.js';
export type { Finding, Position } from './error.js';
export { describeFindings, formatFinding, SpackEnvError } from './error.js';
export type { IncludedDifference, LockDifference } from './lock/compare.js';
export { compareLock } from './lock/compare.js';
export { dagHashOf } from './lock/dag-hash.js';
export { groupsOf, lockOfGroups, shippedLock, unknownGroup } from './lock/groups.js';
export type { IncludedLock, Lock, Root } from './lock/lock.js';
export { defaultGroup, newestLockVersion, parseLock } from './lock/lock.js';
export type { ConcreteNode, DependencyType, Edge } from './lock/node.js';
export { readNode } from './lock/node.js';
export type { LockProof } from './lock/proof.js';
export { changedNodes, proveLock, unprovenNote } from './lock/proof.js';
export { reachable, topological } from './lock/walk.js';
export { largestLock, readPlainFile } from './plain-file.js';
export { concreteSpec } from './spec/concrete.js';
export type { FormatOptions } from './spec/format.js';
export { format, formatSpec } from './spec/format.js';
export { intersects, satisfies } from './spec/match.js';
export type { ParseOptions, Toolchains } from './spec/parse.js';
export { parseSpec, parseSpecs } from './spec/parse.js';
export { constrain } from './spec/relation.js';
export type { Architecture, CompilerFlag, Spec, SpecEdge, Variant } from './spec/spec.js';
export type { Microarchitecture } from './spec/target.js';
export { target, targetFamily } from './spec/target.js';
export type {
  GitVersion,
  StandardVersion,
  VersionItem,
  VersionList,
  VersionPart,
  VersionRange,
} from './spec/version.js';
export {
  compareVersions,
  formatVersion,
  formatVersions,
  parseVersion,
  parseVersions,
  versionsIntersect,
  versionsSatisfy,
} from './spec/version.js';
