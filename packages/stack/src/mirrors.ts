import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { Mirror } from '@stackwright/buildcache';
import type { Environment, MirrorConnection } from '@stackwright/spack-env';
import type { Caller } from './caller.js';
import { connectionOptions } from './credentials.js';
import { StackError } from './error.js';
import { indexMemory } from './index-memory.js';
import type { Stack } from './stack.js';
import { policyFor, type StackTrust } from './trust.js';

/** The mirror that jobs push to, by its name in `spack.yaml`; Spack's CI has the same rule. */
export const destinationName = 'buildcache-destination';

/** A place for binaries, as a command uses it. */
export interface MirrorPlace {
  /** What the stack calls it; `stackwright` where the stack does not have it. */
  readonly name: string;
  /** URL that is read. */
  readonly fetch: string;
  /** URL that is written. */
  readonly push: string;
  /** Signatures are neither asked for nor made: the caller or the stack says so in so many words. */
  readonly unsigned: boolean;
  /** How to reach it, where the stack says so; else as the environment says. */
  readonly connection?: { readonly fetch: MirrorConnection; readonly push: MirrorConnection };
}

/** The places that a command reads and the one that it writes. */
export interface MirrorChoice {
  /** The caller named the mirror; else the stack did. */
  readonly given: boolean;
  /** The one that is written to. It is the first of `places`. */
  readonly target: MirrorPlace | undefined;
  /** All that are read, in the order in which they are asked. */
  readonly places: readonly MirrorPlace[];
}

export interface MirrorOptions {
  /** URL or path, relative to where the caller is. It is then the only mirror. */
  readonly mirror?: string;
  /** Do not ask for signatures anywhere. */
  readonly unsigned?: boolean;
}

/** The mirrors for binaries of a stack, in order. */
export function binaryMirrors({ mirrors }: Environment): MirrorPlace[] {
  return mirrors
    .filter((mirror) => mirror.binary)
    .map(({ name, fetch, push, signed }) => ({
      name,
      fetch: fetch.url,
      push: push.url,
      unsigned: signed === false,
      connection: { fetch, push },
    }));
}

/** What `REMOTE_BUILDCACHE_URL` names: a URL, or a name and a URL, as `spack mirror add` takes them. */
export function remoteBuildcache({
  REMOTE_BUILDCACHE_URL: text = '',
}: NodeJS.ProcessEnv): { readonly name?: string; readonly url: string } | undefined {
  const words = text.trim().split(/\s+/);
  const [name, url] = words.length === 2 && words[1]?.includes('://') ? words : [undefined, text.trim()];
  return url ? { name, url } : undefined;
}

/**
 * The one rule for which mirrors serve a stack and which of them is written to: the one given (an option, else
 * `REMOTE_BUILDCACHE_URL`) and no other; else all that the stack has for binaries are read, and the one named
 * `buildcache-destination` is written to.
 */
export async function chooseMirrors(
  { cwd, env }: Caller,
  stack: Stack,
  { mirror, unsigned = false }: MirrorOptions,
): Promise<MirrorChoice> {
  const configured = binaryMirrors(await stack.environment());
  const asked = (place: MirrorPlace) => ({ ...place, unsigned: unsigned || place.unsigned });
  const given = mirror ?? remoteBuildcache(env)?.url;
  if (given !== undefined) {
    const url = mirrorUrl(given, cwd);
    // A mirror given by its address may be one of the stack's all the same.
    const known = configured.find(({ fetch, push }) => fetch === url || push === url);
    const target = asked({ ...(known ?? { name: 'stackwright', unsigned }), fetch: url, push: url });
    return { given: true, target, places: [target] };
  }
  const target = configured.find(({ name }) => name === destinationName);
  const others = configured.filter((place) => place !== target);
  const places = (target ? [target, ...others] : others).map(asked);
  return { given: false, target: target && places[0], places };
}

/** The destination of a pipeline's jobs. @throws StackError when the stack has none */
export function requireDestination(environment: Environment): MirrorPlace {
  const destination = binaryMirrors(environment).find(({ name }) => name === destinationName);
  if (destination) return destination;
  throw new StackError(
    'no-mirror',
    `${environment.file}: no mirror is named "${destinationName}", so jobs could not push.`,
    { hint: `Add to "mirrors:"  ${destinationName}: {url: …}` },
  );
}

/** A mirror's address from the command line; what is no address is a path. */
export function mirrorUrl(text: string, folder: string): string {
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(text)) return text;
  return pathToFileURL(resolve(folder, text)).href;
}

/** The mirrors of a choice, each opened when it is first needed and with the signatures that it owes. */
export class StackMirrors {
  readonly #readers = new Map<MirrorPlace, Promise<Mirror | undefined>>();
  constructor(
    readonly caller: Caller,
    readonly choice: MirrorChoice,
    readonly trust: StackTrust,
  ) {}

  /** The places that can be read, in order. */
  get places(): readonly MirrorPlace[] {
    return this.choice.places;
  }

  get target(): MirrorPlace | undefined {
    return this.choice.target;
  }

  /**
   * Opens a place to read; undefined where it is a folder that nothing was pushed to yet.
   * @throws BuildcacheError `not-a-mirror` where the caller named it to be read only: then the address is mistyped
   */
  reader(place: MirrorPlace): Promise<Mirror | undefined> {
    let opened = this.#readers.get(place);
    if (!opened) this.#readers.set(place, (opened = this.#open(place)));
    return opened;
  }

  async #open(place: MirrorPlace): Promise<Mirror | undefined> {
    const existing = this.choice.given && place !== this.target;
    if (!existing && (await isNew(place.fetch))) return undefined;
    const { env, signal } = this.caller;
    // Loaded late: a stack whose mirror is still to be made does not wait for it.
    const { checkFreshness, openMirror } = await import('@stackwright/buildcache');
    const mirror = await openMirror(place.fetch, {
      ...connectionOptions(env, place.connection?.fetch),
      policy: await policyFor(place, this.trust),
      view: place.connection?.fetch.view,
      existing,
      signal,
    });
    try {
      await checkFreshness(mirror, { memory: indexMemory(env), maxAge: this.trust.maxAge, signal });
    } catch (error) {
      await mirror.close();
      throw error;
    }
    return mirror;
  }

  async close(): Promise<void> {
    for (const opened of this.#readers.values()) await (await opened.catch(() => undefined))?.close();
    this.#readers.clear();
  }
}

/** Whether a mirror is a folder that nothing was pushed to yet. */
export async function isNew(url: string): Promise<boolean> {
  if (!url.startsWith('file://')) return false;
  const found = await stat(fileURLToPath(url)).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
  return found === undefined;
}
