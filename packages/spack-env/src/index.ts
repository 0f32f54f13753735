export type { Finding, Position } from './error.js';
export { formatFinding, SpackEnvError } from './error.js';
export type { ConcreteNode, DependencyType, Edge, Lock, Root } from './lock.js';
export { newestLockVersion, parseLock, readNode, topological } from './lock.js';
export { formatSpec } from './spec-format.js';
export type { ParseOptions, Toolchains } from './spec-parse.js';
export { parseSpec, parseSpecs } from './spec-parse.js';
