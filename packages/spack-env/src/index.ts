export { evaluateCondition } from './condition.js';
export type { ConfigEntry, ConfigNode, ListNode, MapNode, MergeMode, ScalarNode } from './config-node.js';
export { nodeAt, plainValue, textOf } from './config-node.js';
export { dagHashOf } from './dag-hash.js';
export type { Environment, LoadOptions, RootSpec, SpecGroup, View } from './environment.js';
export { editManifest, loadEnvironment, readEnvironment, upgradeManifest } from './environment.js';
export type { Finding, Position } from './error.js';
export { formatFinding, SpackEnvError } from './error.js';
export type { Host } from './host.js';
export { hostFacts } from './host.js';
export type { ConcreteNode, DependencyType, Edge, IncludedLock, Lock, Root } from './lock.js';
export {
  defaultGroup,
  dependents,
  newestLockVersion,
  parseLock,
  reachable,
  reaching,
  readNode,
  topological,
} from './lock.js';
export type { LockDifference } from './lock-match.js';
export { compareLock } from './lock-match.js';
export type { Mirror, MirrorConnection } from './mirror.js';
export { connectionOptions } from './mirror.js';
export type { FileReader, GitSource, RemoteFetcher } from './reader.js';
export { nodeFiles } from './reader.js';
export type { Scope } from './scope.js';
export type { Architecture, CompilerFlag, Spec, SpecEdge, Variant } from './spec.js';
export { sameSpec } from './spec.js';
export type { FormatOptions } from './spec-format.js';
export { compilerOf, format, formatSpec } from './spec-format.js';
export { lookup } from './spec-graph.js';
export { intersects, satisfies } from './spec-match.js';
export { concreteSpec } from './spec-node.js';
export type { ParseOptions, Toolchains } from './spec-parse.js';
export { parseSpec, parseSpecs } from './spec-parse.js';
export { constrain } from './spec-relation.js';
export type { StackSettings } from './stack-settings.js';
export { readStackSettings } from './stack-settings.js';
export type { Microarchitecture } from './target.js';
export { knownTargets, target, targetFamily } from './target.js';
export type { VariableFacts } from './variables.js';
export { resolvePath, substituteVariables } from './variables.js';
export type { GitVersion, StandardVersion, VersionItem, VersionList, VersionRange } from './version.js';
export {
  compareVersions,
  formatVersion,
  formatVersions,
  parseVersion,
  parseVersions,
  versionsIntersect,
  versionsSatisfy,
} from './version.js';
