import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import {
  type Mirror,
  type MirrorReader,
  openMirror,
  openToRead,
  type PackageRef,
} from '@stackwright/buildcache';
import { describeError, mirrorPolicy, type TrustOptions } from '@stackwright/stack';
import { type Command, Option } from 'commander';
import { callerOf } from '../../caller.js';
import { type Context, note } from '../../context.js';
import { exitCodeOf, RunnerError } from '../../exit.js';
import { exitCode } from '../../exit-code.js';
import { notBeforeOption } from '../../options.js';

export interface StoreOptions {
  readonly endpoint?: string;
  readonly profile?: string;
  readonly anonymous?: boolean;
  readonly tokenVariable?: string;
  /** The index view that is read instead of the whole index. */
  readonly view?: string;
}

/** Options that say how a mirror is reached. */
export function storeOptions(command: Command): Command {
  return command
    .option('--endpoint <url>', "S3: the server's address (else S3_ENDPOINT_URL)")
    .option('--profile <name>', 'S3: the profile of ~/.aws (else AWS_PROFILE)')
    .option('--anonymous', 'S3: send no credentials')
    .option('--token-variable <name>', 'HTTP: environment variable that holds a bearer token');
}

/** The option that names an index view. @param what the command does with it */
export function viewOption(command: Command, what: string): Command {
  return command.option('--view <name>', what);
}

/** Options that say whose signatures count. */
export function trustOptions(command: Command): Command {
  return command
    .addOption(repeatable('--trust <file>', 'public key whose packages are trusted (repeatable)'))
    .addOption(repeatable('--trust-key <fpr>', 'of these keys trust only this one (repeatable)'))
    .option('--trust-published', 'trust the keys that the mirror itself publishes')
    .option('--expired-keys', 'accept signatures by keys that have expired since')
    .addOption(notBeforeOption())
    .option('--unsigned', 'ignore signatures and check only checksums');
}

/** Options that say what is signed with. */
export function signerOptions(command: Command): Command {
  return command
    .option('--key <file>', 'secret key to sign with (else SPACK_SIGNING_KEY)')
    .option('--gpg <user>', "sign with the gpg program and this user's key");
}

/** An option that may be given several times; its value is a list, empty when it is not given. */
export function repeatable(flags: string, description: string): Option {
  const option = new Option(flags, description).argParser((value: string, before: readonly string[]) => [
    ...before,
    value,
  ]);
  // The help text shows defaults as JSON; an empty list says nothing there.
  return option.default([], 'none');
}

/** Opens a mirror of any kind that is there, without looking at signatures. */
export function open(context: Context, url: string, options: StoreOptions): Promise<Mirror> {
  return openMirror(url, { ...openOptions(context, options), existing: true });
}

/** Opens a mirror to read packages from, also one of the old layout v2. */
export function openSource(context: Context, url: string, options: StoreOptions): Promise<MirrorReader> {
  return openToRead(url, openOptions(context, options));
}

/** Opens a mirror of any kind to write to; it may be a new one. */
export function openTarget(context: Context, url: string, options: StoreOptions): Promise<Mirror> {
  return openMirror(url, openOptions(context, options));
}

/**
 * Makes sure that a mirror can publish keys.
 * @param instead what to do where it cannot
 */
export function assertHoldsKeys(mirror: MirrorReader, instead: string): void {
  if (!mirror.holdsKeys)
    throw new RunnerError('usage', `${mirror.url}: a registry has no place for keys.`, {
      hint: instead,
    });
}

export function openOptions(context: Context, options: StoreOptions) {
  const { env, cwd, signal } = context;
  if (env['S3_ENDPOIT_URL'] && !env['S3_ENDPOINT_URL']) {
    note(context, 'Warning: S3_ENDPOIT_URL is misspelled; set S3_ENDPOINT_URL.');
  }
  const { tokenVariable } = options;
  const token = tokenVariable === undefined ? undefined : env[tokenVariable];
  if (tokenVariable !== undefined && !token) {
    throw new RunnerError('no-variable', `The environment variable ${tokenVariable} is not set.`);
  }
  return {
    env,
    cwd,
    signal,
    ...options,
    ...(token ? { token } : {}),
    onEvent: (event: { readonly type: string; readonly key: string; readonly reason: string }) => {
      if (env['STACKWRIGHT_DEBUG']) note(context, `${event.type} ${event.key}: ${event.reason}`);
    },
  };
}

/** A mirror whose packages must be signed as the options say. */
export async function trusted<M extends MirrorReader>(
  context: Context,
  mirror: M,
  options: TrustOptions,
): Promise<M> {
  return mirror.withPolicy(await mirrorPolicy(callerOf(context), mirror, options)) as M;
}

export async function readText(context: Context, file: string): Promise<{ text: string; from: string }> {
  return { text: await readFile(resolve(context.cwd, file), 'utf8'), from: file };
}

/** `1 package`, `3 packages` */
export function count(number: number, word: string): string {
  return `${number} ${word}${number === 1 ? '' : 's'}`;
}

/** Failures of single packages, as one error. */
export function failures(
  failed: readonly { readonly package: PackageRef | string; readonly error: Error }[],
): void {
  if (failed.length === 0) return;
  // What fails for all of them, such as a bucket that is not there, is said once.
  const lines = [...new Set(failed.map((one) => `  ${describeError(one.error).replaceAll('\n', '\n  ')}`))];
  const more = lines.length > 20 ? `\n  and ${lines.length - 20} more` : '';
  const missing = failed.every(({ error }) => exitCodeOf(error) === exitCode.missing);
  throw new RunnerError(
    missing ? 'all-missing' : 'some-failed',
    `${count(failed.length, 'package')} failed:\n${lines.slice(0, 20).join('\n')}${more}`,
  );
}

/** Progress of many packages on a terminal: one line that is written over. */
export function ticker(
  context: Context,
  what: string,
): { tick: (done: number, total: number) => void; end: () => void } {
  const { stderr } = context;
  if (!stderr.isTTY) return { tick: () => {}, end: () => {} };
  let last = 0;
  const started = Date.now();
  return {
    tick: (done, total) => {
      const now = Date.now();
      if (now - last < 100 && done < total) return;
      last = now;
      const seconds = (now - started) / 1000;
      const left = done > 0 ? Math.round((seconds / done) * (total - done)) : 0;
      stderr.write(
        `\r\x1b[K${what} ${done}/${total}, ${(done / Math.max(seconds, 0.1)).toFixed(1)}/s, ${left} s left`,
      );
    },
    end: () => void stderr.write('\r\x1b[K'),
  };
}
