import { BuildcacheError } from './error.js';

/** What a kind of mirror cannot do. @param why completes "The mirror …" */
export function unsupported(mirror: string, why: string, hint: string): BuildcacheError {
  return new BuildcacheError('unsupported', `${mirror} ${why}.`, { mirror, hint });
}
