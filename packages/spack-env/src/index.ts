export type { Finding, Position } from './error.js';
export { formatFinding, SpackEnvError } from './error.js';
export type { ConcreteNode, DependencyType, Edge, Lock, Root } from './lock.js';
export { newestLockVersion, parseLock, readNode, topological } from './lock.js';
