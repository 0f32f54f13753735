import { homedir } from 'node:os';
import { join } from 'node:path';

/** The folder of this user that Stackwright keeps what it can get again in: `~/.cache/stackwright`. */
export function cacheFolder(env: NodeJS.ProcessEnv): string {
  return join(env.XDG_CACHE_HOME || join(env.HOME || homedir(), '.cache'), 'stackwright');
}
