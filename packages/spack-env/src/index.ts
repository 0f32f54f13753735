export type { Finding, Position } from './error.js';
export { formatFinding, SpackEnvError } from './error.js';
export type { Host } from './host.js';
export { hostFacts } from './host.js';
export type { ConcreteNode, DependencyType, Edge, Lock, Root } from './lock.js';
export { newestLockVersion, parseLock, readNode, topological } from './lock.js';
export type { Architecture, CompilerFlag, Spec, SpecEdge, Variant } from './spec.js';
export { sameSpec } from './spec.js';
export type { FormatOptions } from './spec-format.js';
export { compilerOf, format, formatSpec } from './spec-format.js';
export { concreteSpec } from './spec-node.js';
export type { ParseOptions, Toolchains } from './spec-parse.js';
export { parseSpec, parseSpecs } from './spec-parse.js';
export { constrain, intersects, lookup, satisfies } from './spec-relation.js';
export type { Microarchitecture } from './target.js';
export { knownTargets, target, targetFamily } from './target.js';
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
