export { HookError } from './error.js';
export type { Event, Ref } from './event.js';
export { describedEvent, imageTag, readEvent } from './event.js';
export type { HookOptions } from './hook.js';
export { runHook } from './hook.js';
