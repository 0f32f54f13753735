export { HookError } from './error.js';
export type { Event } from './event.js';
export { imageTag, readEvent } from './event.js';
export type { HookOptions } from './hook.js';
export { runHook } from './hook.js';
