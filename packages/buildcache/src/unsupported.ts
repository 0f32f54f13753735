import { BuildcacheError } from './error.js';

/** What a kind of mirror cannot do. @param why completes "The mirror …" */
export function unsupported(mirror: string, why: string, hint: string): BuildcacheError {
  return new BuildcacheError('unsupported', `${mirror} ${why}.`, { mirror, hint });
}

/** A mirror that cannot have index views. @param why completes "The mirror …" */
export function noViews(mirror: string, why: string): BuildcacheError {
  return unsupported(mirror, why, 'Use a mirror of layout v3 in a folder or bucket, or leave the view out.');
}
