export type { BuildEnvironmentOptions, BuildMirror } from './build-environment.js';
export { writeBuildEnvironment } from './build-environment.js';
export { cloneSpack } from './clone.js';
export { SpackError } from './error.js';
export type { RunOptions, RunResult, SpackOptions } from './spack.js';
export { findSpackPrefix, Spack } from './spack.js';
export { paddedRoot } from './tree.js';
